//! `registry history`.

use super::args::HistoryArgs;
use super::{place, state_failure};
use crate::checkpoint::display_name;
use crate::cli::args::OutputFormat;
use crate::cli::{CommandResult, Failure, exit, output};
use crate::registry::state::{Database, History};
use anyhow::anyhow;
use serde_json::json;
use std::io::{self, Write};

/// Lists what became of a model.
pub(super) fn run(args: &HistoryArgs) -> CommandResult {
    let path = place::state(&args.remembering)?;
    let database = Database::open_for_reading(&path).map_err(state_failure)?;
    let source = place::source_of(&database, &args.naming)?;
    let model = &args.naming.model;
    let found = database.history(&source, model).map_err(state_failure)?;
    let Some(history) = found else {
        let error = anyhow!("{model}: was listed, and never checked");
        return Err(Failure { code: exit::NOTHING, error });
    };
    let mut out = io::stdout().lock();
    let written = match args.format {
        OutputFormat::Json => {
            let document = json!({
                "schema": "tensorseal.registry-history/1",
                "source": source,
                "name": model,
                "events": history.events,
                "baselines": history.baselines,
            });
            serde_json::to_writer_pretty(&mut out, &document)
                .map_err(io::Error::from)
                .and_then(|()| writeln!(out))
        }
        OutputFormat::Human => write(&history, (&source, model), &mut out),
    };
    written.map_err(Failure::incomplete)?;
    Ok(exit::PASS)
}

fn write(history: &History, (source, model): (&str, &str), out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}  in {}", display_name(model), display_name(source))?;
    let short = |root: &Option<String>| match root {
        Some(root) => root.chars().take("blake3:".len() + 12).collect(),
        None => String::new(),
    };
    let rows = history.events.iter().map(|event| {
        let run = event.run.map_or(String::new(), |run| run.to_string());
        let version: String = event.version.iter().flat_map(|v| v.chars().take(19)).collect();
        let detail = display_name(&event.detail);
        vec![
            event.at.to_string(),
            run,
            event.state.clone(),
            display_name(&version),
            short(&event.root),
            detail,
        ]
    });
    let header = ["when", "scan", "state", "version", "root", "what"];
    output::table(&header, &[false, true, false, false, false, false], rows.collect(), out)?;
    let rows = history.baselines.iter().map(|accepted| {
        let by = display_name(&accepted.by);
        vec![
            accepted.at.to_string(),
            by,
            short(&Some(accepted.root.clone())),
            display_name(&accepted.reason),
        ]
    });
    output::table(&["accepted", "by", "root", "reason"], &[false; 4], rows.collect(), out)
}
