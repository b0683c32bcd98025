//! `tensorseal devices`: the compute devices of this machine, whether they measure correctly, and how fast.

use super::args::{DevicesArgs, OutputFormat};
use super::{CommandResult, Failure, exit};
use serde::Serialize;
use std::io::{self, Write};
use tensorseal_engine::Threads;
use tensorseal_engine::gpu::{
    AdapterDescription, DeviceSelector, Gpu, GpuError, Throughput, adapters,
};
use tensorseal_report::table::{Align, Table};
use tensorseal_report::units::bytes;

/// One device in the list.
#[derive(Serialize)]
struct DeviceStatus {
    #[serde(flatten)]
    adapter: AdapterDescription,
    /// `passed`, or the error; null with `--list`.
    self_test: Option<String>,
    rates: Vec<Throughput>,
}

pub(super) fn run(args: &DevicesArgs) -> CommandResult {
    let listed: Vec<DeviceStatus> =
        adapters().into_iter().map(|adapter| examine(adapter, args)).collect();
    let failed = listed.iter().any(|d| d.self_test.as_deref().is_some_and(|text| text != "passed"));
    let printed = match args.format {
        OutputFormat::Json => json(&listed),
        OutputFormat::Human => human(&listed),
    };
    match printed {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::incomplete(error)),
        _ if failed => Ok(exit::FINDINGS),
        _ => Ok(exit::PASS),
    }
}

fn examine(adapter: AdapterDescription, args: &DevicesArgs) -> DeviceStatus {
    let mut listed = DeviceStatus { adapter, self_test: None, rates: Vec::new() };
    if args.list {
        return listed;
    }
    let selector = DeviceSelector::Named(listed.adapter.name.clone());
    let threads = Threads::default();
    let pool = threads.feeder_pool().ok().flatten();
    let tested = Gpu::open(&selector).and_then(|gpu| gpu.benchmark(pool));
    listed.self_test = Some(match tested {
        Ok(rates) => {
            listed.rates = rates;
            "passed".to_owned()
        }
        Err(error) => error.to_string(),
    });
    listed
}

fn json(listed: &[DeviceStatus]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, &serde_json::json!({ "devices": listed }))?;
    writeln!(out)
}

fn human(listed: &[DeviceStatus]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "cpu  always available; --device cpu")?;
    if listed.is_empty() {
        match cfg!(feature = "gpu") {
            true => writeln!(
                out,
                "no GPU found: install its Vulkan driver, or mesa-vulkan-drivers for a software device"
            )?,
            false => writeln!(out, "{}", GpuError::NotBuiltIn)?,
        }
    }
    for DeviceStatus { adapter, self_test, rates } in listed {
        writeln!(out, "\n{}", adapter.name)?;
        writeln!(out, "  {}, {}, {}", adapter.kind, adapter.backend, adapter.driver)?;
        writeln!(
            out,
            "  buffers up to {}, bindings up to {}",
            bytes(adapter.max_buffer_size),
            bytes(adapter.max_storage_binding)
        )?;
        if let Some(text) = self_test {
            writeln!(out, "  self-test {text}")?;
        }
        let rows = rates.iter().map(|rate| {
            let speed = format!("{:.2} GB/s", rate.bytes_per_second / 1e9);
            vec![speed.into(), rate.what.to_string().into()]
        });
        let table = Table::new().column("", Align::Right).column("", Align::Left).indented(2);
        table.write(&rows.collect::<Vec<_>>(), &mut out)?;
        if adapter.is_software() {
            writeln!(out, "  software device, for tests; never used by `--device auto`")?;
        }
    }
    Ok(())
}
