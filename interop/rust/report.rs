//! How a program of checks tells what came of them: a line for each, and the exit code.

use std::process::ExitCode;

use crate::simulator::Result;

/// What a check that holds has to tell.
pub trait Told {
    fn told(self) -> String;
}

impl Told for () {
    fn told(self) -> String {
        String::new()
    }
}

impl Told for String {
    fn told(self) -> String {
        format!(": {self}")
    }
}

pub fn report(failed: &mut bool, name: &str, outcome: Result<impl Told>) {
    match outcome {
        Ok(what) => println!("ok      {name}{}", what.told()),
        Err(error) => {
            *failed = true;
            println!("FAILED  {name}: {error}");
        }
    }
}

/// Of a run that told whether all holds, or could not begin.
pub fn exit_code(outcome: Result<bool>) -> ExitCode {
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("FAILED  start: {error}");
            ExitCode::FAILURE
        }
    }
}
