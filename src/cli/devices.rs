use super::Outcome;
use super::args::DevicesArgs;
pub fn run(_: &DevicesArgs) -> Outcome {
    Ok(0)
}
