//! What `--help` and the man pages say of every verb behind its options: exit codes and examples.

use anstyle::Style;
use clap::Command;

/// The end of the help of a verb.
pub(super) struct VerbHelp {
    /// The words of the verb behind the name of the program; empty for the program.
    pub path: &'static str,
    /// Exit codes and their meanings.
    pub codes: &'static [(u8, &'static str)],
    /// What an example does, and its command line.
    pub examples: &'static [(&'static str, &'static str)],
}

/// How to create a private key, but for the name of its file.
pub(super) const CREATE_KEY: &str =
    "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256";

/// The order of the help of a verb: examples come before the options, which are long.
const TEMPLATE: &str = "{about-with-newline}
{usage-heading} {usage}

{before-help}{all-args}{after-help}";

const USAGE: (u8, &str) = (2, "usage error: an option, key, path or device cannot be used");
const INCOMPLETE: (u8, &str) =
    (3, "could not be completed: the model is unreadable, malformed or changed while being read");
const UNREADABLE: (u8, &str) =
    (3, "could not be completed: a file is unreadable or changed while being read");
const NO_STATE: (u8, &str) = (2, "usage error, or the state database does not exist");
const NOT_WRITTEN: (u8, &str) = (3, "the output could not be written");
const STATE_UNUSABLE: (u8, &str) = (3, "the state database could not be read or written");
const INTERRUPTED: (u8, &str) = (130, "interrupted");

/// All verbs, and the program.
pub(super) const VERBS: &[VerbHelp] = &[
    VerbHelp {
        path: "",
        codes: &[
            (0, "passed"),
            (1, "findings at or above --fail-on"),
            (2, "usage error, or nothing to verify against"),
            (3, "could not be completed"),
            (4, "nothing matched: no tensor, model or carrier"),
            (11, "locked by another scan"),
            INTERRUPTED,
        ],
        examples: &[
            ("Record what the model is", "tensorseal seal MODEL --fine"),
            ("Sign the model and its seal", "tensorseal sign MODEL --attest seal --key KEY.pem"),
            ("Check seal and signature", "tensorseal verify MODEL --public-key PUB.pem"),
            ("Decide by a policy", "tensorseal gate MODEL --policy policy.toml"),
            ("Restore flipped bits", "tensorseal repair MODEL -o REPAIRED"),
        ],
    },
    VerbHelp {
        path: "seal",
        codes: &[
            (0, "the seal was written"),
            (1, "the seal was written, and the model has findings at or above --fail-on"),
            USAGE,
            INCOMPLETE,
            (4, "the model has no files to seal"),
            INTERRUPTED,
        ],
        examples: &[
            ("Seal a model directory", "tensorseal seal models/llama"),
            (
                "Seal it so that bit flips can be located and repaired",
                "tensorseal seal models/llama --fine",
            ),
        ],
    },
    VerbHelp {
        path: "verify",
        codes: &[
            (0, "the model is what was sealed or signed"),
            (1, "findings at or above --fail-on: the model, its seal or its signature differs"),
            (2, "usage error, or there is no seal, signature or root to verify against"),
            UNREADABLE,
            (4, "--expect-root alone, and the model has no tensors"),
            INTERRUPTED,
        ],
        examples: &[
            ("Verify against the seal of the model", "tensorseal verify models/llama"),
            (
                "Verify against its signature as well",
                "tensorseal verify models/llama --public-key release.pub.pem",
            ),
        ],
    },
    VerbHelp {
        path: "sign",
        codes: &[
            (0, "the signature was written"),
            (1, "the signature was written, and the model has findings at or above --fail-on"),
            USAGE,
            INCOMPLETE,
            (4, "the model has no files to sign"),
            INTERRUPTED,
        ],
        examples: &[
            (
                "Create a key pair with OpenSSL",
                "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out release.pem && openssl pkey -in release.pem -pubout -out release.pub.pem",
            ),
            (
                "Sign a model and its seal",
                "tensorseal sign models/llama --key release.pem --attest seal",
            ),
        ],
    },
    VerbHelp {
        path: "gate",
        codes: &[
            (0, "the model meets the policy"),
            (1, "the model does not meet the policy, or a required check could not be made"),
            (2, "usage error, or the policy or something it names cannot be used"),
            UNREADABLE,
            (4, "there is nothing to judge in the model"),
            INTERRUPTED,
        ],
        examples: &[
            (
                "Write a policy with every key explained",
                "tensorseal gate --print-policy > policy.toml",
            ),
            ("Judge a model by it", "tensorseal gate models/llama --policy policy.toml"),
        ],
    },
    VerbHelp {
        path: "audit",
        codes: &[
            (0, "no findings at or above --fail-on"),
            (1, "findings at or above --fail-on"),
            USAGE,
            (3, "could not be completed, or not everything was audited with --require-all"),
            (4, "the model has no tensors"),
            INTERRUPTED,
        ],
        examples: &[
            (
                "Audit a model and write a report to read in a browser",
                "tensorseal audit models/llama --report html=report.html",
            ),
            (
                "Compare its weights with an earlier seal as well",
                "tensorseal audit models/llama --baseline base.seal.json",
            ),
        ],
    },
    VerbHelp {
        path: "repair",
        codes: &[
            (0, "the repaired copy was written, or there is nothing to repair"),
            (1, "nothing was written: not every change could be traced to bit flips"),
            (2, "usage error, or there is no seal to repair by"),
            UNREADABLE,
            INTERRUPTED,
        ],
        examples: &[(
            "Write a copy with the flipped bits restored",
            "tensorseal repair models/llama -o llama-repaired",
        )],
    },
    VerbHelp {
        path: "inspect",
        codes: &[
            (0, "no findings at or above --fail-on"),
            (1, "findings at or above --fail-on"),
            USAGE,
            INCOMPLETE,
            (4, "the model has no tensors"),
        ],
        examples: &[("List every tensor", "tensorseal inspect models/llama --full")],
    },
    VerbHelp {
        path: "compare",
        codes: &[
            (0, "the weights are equal"),
            (1, "the weights differ"),
            USAGE,
            INCOMPLETE,
            (4, "a model has no weights to compare"),
            INTERRUPTED,
        ],
        examples: &[
            (
                "Compare a fine-tuned model with its base",
                "tensorseal compare models/base models/tuned",
            ),
            (
                "Compare a model with its quantised form",
                "tensorseal compare models/llama llama-q4_k.gguf",
            ),
        ],
    },
    VerbHelp {
        path: "watermark keygen",
        codes: &[(0, "the key was written"), USAGE, NOT_WRITTEN],
        examples: &[("Create a key", "tensorseal watermark keygen -o watermark.key")],
    },
    VerbHelp {
        path: "watermark claim",
        codes: &[
            (0, "the claim was written"),
            (2, "usage error, or the model cannot be marked"),
            INCOMPLETE,
            (4, "the model has no tensors that can carry a watermark"),
            INTERRUPTED,
        ],
        examples: &[(
            "Commit to a watermark before the marked model is released",
            "tensorseal watermark claim models/llama --key watermark.key -o claim.json",
        )],
    },
    VerbHelp {
        path: "watermark embed",
        codes: &[
            (0, "the marked copy was written"),
            (1, "the marked copy was written, and there are findings at or above --fail-on"),
            (2, "usage error, or the model cannot be marked"),
            INCOMPLETE,
            (4, "the model has no tensors that can carry a watermark"),
            INTERRUPTED,
        ],
        examples: &[
            (
                "Write a marked copy of a model",
                "tensorseal watermark embed models/llama --key watermark.key -o llama-marked",
            ),
            (
                "Embed exactly what was claimed",
                "tensorseal watermark embed models/llama --key watermark.key --claim claim.json -o llama-marked",
            ),
        ],
    },
    VerbHelp {
        path: "watermark detect",
        codes: &[
            (0, "every watermark is present, or absent with --expect absent"),
            (1, "a watermark is not as expected, or the result is inconclusive"),
            USAGE,
            UNREADABLE,
            (4, "the model has no tensors that can carry a watermark"),
            INTERRUPTED,
        ],
        examples: &[
            (
                "Look for a watermark",
                "tensorseal watermark detect models/suspect --key watermark.key",
            ),
            (
                "Check it against a published claim",
                "tensorseal watermark detect models/suspect --key watermark.key --claim claim.json",
            ),
        ],
    },
    VerbHelp {
        path: "registry scan",
        codes: &[
            (0, "no findings at or above --fail-on"),
            (1, "findings at or above --fail-on"),
            USAGE,
            (3, "a model or source could not be checked, or a notification failed"),
            (4, "no models were found"),
            (11, "another scan is using the same state database"),
            INTERRUPTED,
        ],
        examples: &[
            ("Scan a directory of models", "tensorseal registry scan /srv/models"),
            (
                "Scan a bucket, re-reading models that were last read a month ago",
                "tensorseal registry scan s3://bucket/models --max-age 30d --prometheus tensorseal.prom",
            ),
        ],
    },
    VerbHelp {
        path: "registry status",
        codes: &[
            (0, "no findings at or above --fail-on"),
            (1, "findings at or above --fail-on"),
            NO_STATE,
            (3, "the last scan was incomplete, or the state database could not be read"),
            (4, "no models are known"),
        ],
        examples: &[(
            "List the models that need attention",
            "tensorseal registry status --problems",
        )],
    },
    VerbHelp {
        path: "registry history",
        codes: &[
            (0, "the history was printed"),
            NO_STATE,
            STATE_UNUSABLE,
            (4, "no model has this name, or it was never checked"),
        ],
        examples: &[("Print what happened to a model", "tensorseal registry history org/model")],
    },
    VerbHelp {
        path: "registry accept",
        codes: &[
            (0, "the model was accepted"),
            (2, "usage error, the state database does not exist, or the model cannot be accepted"),
            STATE_UNUSABLE,
            (4, "no model has this name"),
            (11, "a scan is using the same state database"),
        ],
        examples: &[(
            "Accept a model that was updated on purpose",
            "tensorseal registry accept org/model --reason \"release 2.1\"",
        )],
    },
    VerbHelp {
        path: "devices",
        codes: &[
            (0, "all devices passed"),
            (1, "a device failed its self-test"),
            USAGE,
            NOT_WRITTEN,
        ],
        examples: &[],
    },
    VerbHelp {
        path: "explain",
        codes: &[(0, "the rule was explained"), (2, "no rule has this id"), NOT_WRITTEN],
        examples: &[("Explain a rule", "tensorseal explain integrity/tensor-changed")],
    },
    VerbHelp {
        path: "completions",
        codes: &[(0, "the completions were printed"), USAGE],
        examples: &[(
            "Install completions for bash",
            "tensorseal completions bash > ~/.local/share/bash-completion/completions/tensorseal",
        )],
    },
    VerbHelp {
        path: "man",
        codes: &[(0, "the pages were written"), USAGE, NOT_WRITTEN],
        examples: &[(
            "Install the man pages for one user",
            "tensorseal man -o ~/.local/share/man/man1",
        )],
    },
];

/// What is said of the verb of this path.
pub(super) fn of(path: &str) -> Option<&'static VerbHelp> {
    VERBS.iter().find(|verb| verb.path == path)
}

/// Adds exit codes and examples to a command and all below it.
pub(super) fn add(command: Command) -> Command {
    add_at(command, "")
}

fn add_at(command: Command, path: &str) -> Command {
    let command = match of(path) {
        Some(verb) => {
            let command = command.help_template(TEMPLATE).after_help(verb.exit_codes());
            if verb.examples.is_empty() { command } else { command.before_help(verb.examples()) }
        }
        None => command,
    };
    command.mut_subcommands(|below| {
        let path = format!("{path} {}", below.get_name());
        add_at(below, path.trim_start())
    })
}

impl VerbHelp {
    /// The exit codes, for a terminal.
    fn exit_codes(&self) -> String {
        let mut lines = vec![heading("Exit codes:")];
        lines.extend(self.codes.iter().map(|(code, meaning)| format!("  {code:<3}  {meaning}")));
        lines.join("\n")
    }

    /// The examples, for a terminal. Those of the program are the steps of one workflow.
    fn examples(&self) -> String {
        let width = self.examples.iter().map(|(_, line)| line.len()).max().unwrap_or_default();
        let mut lines = vec![heading("Examples:")];
        lines.extend(self.examples.iter().map(|(purpose, line)| match self.path {
            "" => format!("  {line:width$}  # {purpose}"),
            _ => format!("  {purpose}:\n    {line}"),
        }));
        lines.join("\n")
    }
}

/// A heading in the style of clap.
fn heading(text: &str) -> String {
    let style = Style::new().bold().underline();
    format!("{style}{text}{style:#}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::command::command;

    /// The paths of all commands that do something.
    fn leaves(command: &Command, path: &str, all: &mut Vec<(String, Command)>) {
        if !command.has_subcommands() {
            all.push((path.to_owned(), command.clone()));
        }
        for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
            leaves(below, format!("{path} {}", below.get_name()).trim_start(), all);
        }
    }

    fn all() -> Vec<(String, Command)> {
        let (mut built, mut all) = (command(), Vec::new());
        built.build();
        leaves(&built, "", &mut all);
        all
    }

    #[test]
    #[cfg(feature = "registry")]
    fn every_verb_says_its_exit_codes() {
        let all = all();
        for (path, command) in &all {
            let text = command.clone().render_long_help().to_string();
            assert!(text.contains("Exit codes:\n  0 "), "{path}: {text}");
            assert!(text.contains("  2    "), "{path}: {text}");
            let examples = text.find("Examples:");
            assert!(examples.is_none_or(|at| Some(at) < text.find("options:")), "{path}: {text}");
        }
        for verb in VERBS.iter().filter(|verb| !verb.path.is_empty()) {
            assert!(all.iter().any(|(path, _)| path == verb.path), "{} is no verb", verb.path);
            assert!(verb.codes.is_sorted_by_key(|(code, _)| code), "{}", verb.path);
        }
    }

    /// An example that does not parse teaches nothing.
    #[test]
    #[cfg(feature = "registry")]
    fn examples_are_command_lines() {
        let lines = VERBS.iter().flat_map(|verb| verb.examples).map(|(_, line)| line);
        for line in lines.flat_map(|line| line.split(" && ")) {
            let line = line.split(" > ").next().unwrap();
            let Some(words) = line.strip_prefix("tensorseal ") else {
                assert!(line.starts_with("openssl "), "{line}");
                continue;
            };
            let words = words.replace("\"release 2.1\"", "release");
            let args = ["tensorseal"].into_iter().chain(words.split(' '));
            assert!(command().try_get_matches_from(args).is_ok(), "{line}");
        }
    }

    #[test]
    fn every_verb_takes_the_general_options() {
        for (path, command) in all().iter().filter(|(path, _)| !path.is_empty()) {
            for name in ["quiet", "verbose", "no-progress", "config", "no-config"] {
                let arg = command.get_arguments().find(|arg| arg.get_long() == Some(name));
                let arg = arg.unwrap_or_else(|| panic!("{path} does not take --{name}"));
                assert!(arg.get_help_heading().is_some(), "{path}: {name}");
            }
        }
    }

    /// Words that this program does not use: they are private, or mean too much.
    #[test]
    fn help_is_plain_english() {
        let refused = [
            "beside",
            "put back",
            "held to",
            "whoever",
            "nobody",
            "by itself",
            "of its own",
            "as it was",
            "was asked",
            " told",
            "tells the rest",
            "who measures",
            "the usual one",
        ];
        for (path, command) in all() {
            let text = command.clone().render_long_help().to_string().to_lowercase();
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            for words in refused {
                assert!(!text.contains(words), "{path}: {words:?} in {text}");
            }
            for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
                let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
                let first = help.chars().next();
                assert!(
                    first.is_some_and(char::is_uppercase),
                    "{path}: {}: {help:?}",
                    arg.get_id()
                );
                assert!(!help.ends_with('.'), "{path}: {help:?}");
            }
        }
    }
}
