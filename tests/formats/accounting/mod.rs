//! Every file accounted for: directories of every kind, what a verb says of each, and with which exit code.
//!
//! A row of a table is a directory, a command, the exit code, a rule that is among its findings, and a part of
//! what people read. `docs/threat-model.md` names the rows that hold its sentences.

mod code;
mod files;
mod gates;
mod nothing;
mod pickles;
mod scans;
mod sound;
mod table;
