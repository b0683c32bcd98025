"""Is everything that is told of registries what its readers expect? Asks the programs that read it.

Needs promtool and node_exporter (prometheus, prometheus-node-exporter), rsyslogd (rsyslog) and systemd-analyze
(systemd). What it starts listens on this machine alone, and is stopped again.
"""

import contextlib
import csv
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import html5lib
import jsonschema
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

ROOT = pathlib.Path(__file__).resolve().parents[3]
CONTRIB = ROOT / "contrib"
EXAMPLE = os.environ.get("REGISTRY_OUTPUTS", str(ROOT / "target/debug/examples/registry_outputs"))
NAMES = ["empty", "few", "five-hundred", "five-thousand", "hostile"]
PATIENCE = 20


def check_json(out):
    """The documents hold to the published schema, and the schema holds back what is wrong."""
    schema = ROOT / "docs/schema/tensorseal.registry.1.schema.json"
    checker = pathlib.Path(sys.executable).parent / "check-jsonschema"
    command = [checker, "--schemafile", schema]
    documents = [out / f"{name}.json" for name in ["empty", "few", "five-hundred"]]
    subprocess.run([*command, *documents], check=True)
    document = json.loads((out / "few.json").read_text())
    document["models"][0]["state"] = "fine"
    broken = out / "broken"
    broken.write_text(json.dumps(document))
    assert subprocess.run([*command, broken], capture_output=True).returncode == 1, "the validator validates"


def check_csv(out):
    """As many records as models, whatever they are called, and none of them a formula."""
    for name in NAMES:
        with (out / f"{name}.csv").open(newline="", encoding="utf-8") as file:
            records = list(csv.reader(file, strict=True))
        models = json.loads((out / f"{name}.json").read_text())["models"]
        assert len(records) == len(models) + 1, name
        assert {len(record) for record in records} == {16}, name
        assert not any(field[:1] in "=+-@\t\r" for record in records for field in record if field), name


def check_html(out):
    """Pages are HTML to a parser that knows the standard, and none is too large to open."""
    for name in NAMES:
        page = (out / f"{name}.html").read_text()
        html5lib.HTMLParser(strict=True).parse(page)
        assert len(page) < 3_000_000, (name, len(page))
    try:
        html5lib.HTMLParser(strict=True).parse(page.replace("</table>", "</div>", 1))
    except html5lib.html5parser.ParseError:
        return
    raise AssertionError("the parser takes everything")


def ocsf_validator(schema, kind):
    """Of a class of events; it knows no member that the standard does not."""
    of_class = schema.get_class_schema(schema.lookup_class_name_from_uid(kind))
    return jsonschema.Draft202012Validator(of_class)


def check_ocsf(out):
    """Events are those of the standard, and a finding is told once."""
    schema = OcsfJsonSchemaEmbedded(get_ocsf_schema("1.8.0"))
    validators = {}
    for name in NAMES:
        events = [json.loads(line) for line in (out / f"{name}.ocsf.jsonl").read_text().splitlines()]
        uids = [event["finding_info"]["uid"] for event in events if event["class_uid"] == 2004]
        assert len(uids) == len(set(uids)) or name == "hostile", name
        for event in events:
            kind = event["class_uid"]
            if kind not in validators:
                validators[kind] = ocsf_validator(schema, kind)
            errors = [f"{error.json_path}: {error.message}" for error in validators[kind].iter_errors(event)]
            assert not errors, (name, errors[:5])
        if name == "few":
            types = [event["type_uid"] for event in events]
            assert types[0] == 600701 and types[-1] == 600706 and set(types[1:-1]) == {200401}, types
            for broken in [{**events[1], "severity_id": 9}, {**events[1], "severety": 1}]:
                assert list(validators[2004].iter_errors(broken)), "the validator validates"


def check_metrics(out):
    """promtool has nothing to say, whatever rules are called."""
    for name in NAMES:
        text = (out / f"{name}.prom").read_bytes()
        said = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True)
        assert said.returncode == 0 and not said.stdout + said.stderr, (name, said)
    said = subprocess.run(["promtool", "check", "metrics"], input=b"tensorseal_models 1 1 1\n", capture_output=True)
    assert said.returncode != 0, "promtool checks"


def check_scrape(out):
    """node_exporter collects the files of several registries side by side, and gives them out again."""
    directory = out / "textfiles"
    directory.mkdir()
    for name in NAMES:
        shutil.copy(out / f"{name}.prom", directory)
    port = free_port(socket.SOCK_STREAM)
    command = ["prometheus-node-exporter", f"--web.listen-address=127.0.0.1:{port}", "--collector.disable-defaults"]
    command += ["--collector.textfile", f"--collector.textfile.directory={directory}", "--log.level=error"]
    with running(command):
        text = answer(f"http://127.0.0.1:{port}/metrics")
    assert "node_textfile_scrape_error 0" in text, text[:2000]
    found = {line for line in text.splitlines() if line.startswith("tensorseal_")}
    for name in NAMES:
        wanted = (out / f"{name}.prom").read_text().splitlines()
        samples = [parse(line) for line in wanted if line and not line.startswith("#")]
        assert set(samples) <= {parse(line) for line in found}, name


def parse(line):
    """Name, labels in order, and value of a sample."""
    name, labels, value = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line).groups()
    return name, tuple(sorted(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels or ""))), float(value)


def check_rules(out):
    """The alerts are read, do what their tests say, and speak of metrics that are written."""
    directory = CONTRIB / "prometheus"
    subprocess.run(["promtool", "check", "rules", directory / "tensorseal.rules.yml"], check=True, stdout=sys.stderr)
    subprocess.run(["promtool", "test", "rules", directory / "tensorseal.rules.test.yml"], check=True, stdout=sys.stderr)
    written = set(re.findall(r"^tensorseal_\w+", (out / "few.prom").read_text(), re.M))
    used = set(re.findall(r"tensorseal_\w+", (directory / "tensorseal.rules.yml").read_text()))
    assert used <= written, used - written


def check_dashboard(out):
    """Every query of the dashboard is one, and asks for metrics that are written."""
    dashboard = json.loads((CONTRIB / "grafana/registry.json").read_text())
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    written = set(re.findall(r"^tensorseal_\w+", (out / "few.prom").read_text(), re.M))
    rules = []
    for number, query in enumerate(queries):
        used = set(re.findall(r"tensorseal_\w+", query))
        assert used and used <= written, query
        # Variables become patterns: what is left must be a query by itself.
        rules.append({"record": f"q{number}", "expr": query.replace("$instance", ".*").replace("$registry", ".*")})
    path = out / "queries.yml"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    subprocess.run(["promtool", "check", "rules", "--lint=none", path], check=True, stdout=sys.stderr)
    boxes = [panel["gridPos"] for panel in dashboard["panels"]]
    taken = {(box["x"] + x, box["y"] + y) for box in boxes for x in range(box["w"]) for y in range(box["h"])}
    assert len(taken) == sum(box["w"] * box["h"] for box in boxes), "panels overlap"
    assert max(x for x, _ in taken) < 24


def check_syslog(out):
    """rsyslog takes the messages apart by the configuration of contrib, over UDP, TCP and a socket."""
    ports = {"514": free_port(socket.SOCK_DGRAM), "601": free_port(socket.SOCK_STREAM)}
    received, local = out / "received.jsonl", out / "log.socket"
    text = (CONTRIB / "rsyslog/tensorseal.conf").read_text()
    for port, free in ports.items():
        text = text.replace(f'port="{port}"', f'port="{free}"')
    text = text.replace("/var/log/tensorseal.jsonl", str(received))
    text += f'module(load="imuxsock" sysSock.use="off")\ninput(type="imuxsock" socket="{local}" ruleset="tensorseal" useSpecialParser="off")\n'
    config = out / "rsyslog.conf"
    config.write_text(f'global(workDirectory="{out}" maxMessageSize="8k")\n{text}')
    said = subprocess.run(["rsyslogd", "-N1", "-f", config], capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    targets = [f"tcp://127.0.0.1:{ports['601']}", f"udp://127.0.0.1:{ports['514']}", f"unix://{local}?facility=authpriv"]
    with running(["rsyslogd", "-n", "-f", config, "-i", out / "rsyslog.pid"]):
        wait_for(lambda: listens(ports["601"]) and local.exists())
        sent = subprocess.run([EXAMPLE, out / "again", *targets], check=True, capture_output=True, text=True).stdout
        expected = sum(int(n) for n in re.findall(r"(\d+) messages to", sent))
        assert expected > 0, sent
        wait_for(lambda: received.exists() and len(received.read_bytes().splitlines()) >= expected)
    messages = [json.loads(line) for line in received.read_text().splitlines()]
    assert len(messages) == expected, (len(messages), expected)
    check_messages(out, messages, len(targets))


def check_messages(out, messages, times):
    assert {message["program"] for message in messages} == {"tensorseal"}
    assert {message["kind"] for message in messages} == {"FINDING", "MODEL", "ERROR", "SCAN"}
    assert {message["facility"] for message in messages} == {"local0", "authpriv"}
    assert all(message["rfc5424-sd"]["origin"]["software"] == "tensorseal" for message in messages)
    found = [message for message in messages if message["kind"] == "FINDING"]
    worst = [message for message in found if message["rfc5424-sd"]["tensorseal@32473"]["severity"] == "critical"]
    assert worst and {message["severity"] for message in worst} == {"crit"}
    # What they are about is what the other reports say.
    documents = {name: json.loads((out / f"{name}.json").read_text()) for name in ["few", "hostile"]}
    few = {model["name"] for model in documents["few"]["models"]}
    named = {message["rfc5424-sd"]["tensorseal@32473"].get("model") for message in found}
    assert few & named, named
    events = [json.loads(line) for line in (out / "few.ocsf.jsonl").read_text().splitlines()]
    uids = {event["finding_info"]["uid"] for event in events if event["class_uid"] == 2004}
    assert uids & {message["rfc5424-sd"]["tensorseal@32473"].get("uid") for message in found}
    # A name that tries to add structured data is the value of one parameter.
    assert not any("evil@1" in message["rfc5424-sd"] for message in messages)
    assert any(name and "] [evil@1 a=\"b\"]" in name for name in named), named
    assert sum(message["kind"] == "SCAN" for message in messages) == 2 * times


def check_units(out):
    """systemd reads the units without a word, and finds little that they could do."""
    directory = out / "units"
    directory.mkdir()
    for path in (CONTRIB / "systemd").glob("tensorseal-*@.*"):
        # The program need not be installed here.
        directory.joinpath(path.name).write_text(path.read_text().replace("/usr/bin/tensorseal ", "/bin/true "))
    drop_in = directory / "tensorseal-scan@remote.service.d"
    drop_in.mkdir()
    shutil.copy(CONTRIB / "systemd/remote.conf", drop_in)
    sysusers = CONTRIB / "systemd/tensorseal.sysusers.conf"
    subprocess.run(["systemd-sysusers", "--dry-run", sysusers], check=True, capture_output=True)
    units = ["scan@hub.service", "scan@hub.timer", "scan@remote.service", "alert@x.service"]
    environment = {**os.environ, "SYSTEMD_UNIT_PATH": f"{directory}:"}
    for unit in units:
        command = ["systemd-analyze", "verify", "--man=no", directory / f"tensorseal-{unit}"]
        said = subprocess.run(command, capture_output=True, text=True, env=environment)
        assert said.returncode == 0 and not said.stdout + said.stderr, (unit, said)
    for unit in ["scan@.service", "alert@.service"]:
        command = ["systemd-analyze", "security", "--offline=yes", "--no-pager", "--threshold=40"]
        said = subprocess.run([*command, directory / f"tensorseal-{unit}"], capture_output=True, text=True)
        exposure = float(re.search(r"exposure level for \S+ ([\d.]+)", said.stdout).group(1))
        assert said.returncode == 0 and exposure < 4, (unit, said.stdout)
        print(f"{unit}: exposure {exposure}", file=sys.stderr)


@contextlib.contextmanager
def running(command):
    """A program in the background, for as long as this takes."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        yield process
        assert process.poll() is None, f"{command[0]} ended by itself"
    finally:
        process.terminate()
        process.wait(PATIENCE)


def wait_for(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.05)


def free_port(kind):
    with socket.socket(socket.AF_INET, kind) as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def listens(port):
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def answer(url):
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return urllib.request.urlopen(url, timeout=PATIENCE).read().decode()
        except (urllib.error.URLError, ConnectionError):
            assert time.monotonic() < end, f"{url} does not answer"
            time.sleep(0.05)


def main():
    with tempfile.TemporaryDirectory() as directory:
        out = pathlib.Path(directory)
        subprocess.run([EXAMPLE, directory], check=True, stdout=sys.stderr)
        checks = [check_json, check_csv, check_html, check_ocsf, check_metrics, check_scrape]
        checks += [check_rules, check_dashboard, check_syslog, check_units]
        for check in checks:
            began = time.monotonic()
            check(out)
            print(f"{check.__name__}: {time.monotonic() - began:.1f} s", file=sys.stderr)
    print("Everything that is told of registries is read by others")


if __name__ == "__main__":
    main()
