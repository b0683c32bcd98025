//! `registry history`.

use super::args::HistoryArgs;
use super::{place, state_failure};
use crate::cli::args::OutputFormat;
use crate::cli::{CommandResult, Failure, exit, output};
use anyhow::anyhow;
use serde_json::json;
use std::io::{self, Write};
use tensorseal_format::display_name;
use tensorseal_registry::state::{Database, History};
use tensorseal_report::table::{Align, Cell, Table};

/// Prints the history of a model.
pub(super) fn run(args: &HistoryArgs) -> CommandResult {
    let path = place::state(&args.remembering)?;
    let database = Database::open_for_reading(&path).map_err(state_failure)?;
    let source = place::source_of(&database, &args.naming)?;
    let model = &args.naming.model;
    let found = database.history(&source, model).map_err(state_failure)?;
    let Some(history) = found else {
        let error = anyhow!("{model}: listed by its source, but never checked");
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
        let cells = [
            event.at.to_string(),
            run,
            event.state.clone(),
            display_name(&version),
            short(&event.root),
            detail,
        ];
        cells.map(Cell::from).to_vec()
    });
    let table = Table::new()
        .column("when", Align::Left)
        .column("scan", Align::Right)
        .column("state", Align::Left)
        .column("version", Align::Left)
        .column("root", Align::Left)
        .column("what", Align::Left);
    output::table(table, &rows.collect::<Vec<_>>(), out)?;
    let rows = history.baselines.iter().map(|accepted| {
        let by = display_name(&accepted.by);
        let cells = [
            accepted.at.to_string(),
            by,
            short(&Some(accepted.root.clone())),
            display_name(&accepted.reason),
        ];
        cells.map(Cell::from).to_vec()
    });
    let table = Table::new()
        .column("accepted", Align::Left)
        .column("by", Align::Left)
        .column("root", Align::Left)
        .column("reason", Align::Left);
    output::table(table, &rows.collect::<Vec<_>>(), out)
}
