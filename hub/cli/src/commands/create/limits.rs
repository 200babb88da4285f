//! What a function may use of the machine, as flags.

use serde_json::{Value, json};

/// What is not said is the hub's default; what is above its maximum is refused.
#[derive(clap::Args)]
pub(super) struct Limits {
    /// Memory of a worker, such as 512Mi or 1Gi
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    memory: Option<u64>,
    /// Processor cores of a worker, such as 0.5
    #[arg(long, value_name = "CORES")]
    cpu: Option<f64>,
    /// Processes and threads of a worker
    #[arg(long, value_name = "N")]
    processes: Option<u32>,
    /// Size of the largest file it writes, such as 100Mi
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    file_size: Option<u64>,
    /// Size of its scratch folder, such as 100Mi
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    scratch: Option<u64>,
    /// Files and sockets a process has open
    #[arg(long, value_name = "N")]
    open_files: Option<u64>,
    /// Fuel of one call, about a unit for each instruction: functions in wasm alone
    #[arg(long, value_name = "UNITS")]
    fuel: Option<u64>,
    /// It reaches the network; the hub must allow that
    #[arg(long)]
    network: bool,
}

impl Limits {
    /// Adds what was said to a function's body.
    pub(super) fn put_into(&self, body: &mut Value) {
        let said = [
            ("memory", self.memory.map(Value::from)),
            ("cpu", self.cpu.map(Value::from)),
            ("processes", self.processes.map(Value::from)),
            ("fileSize", self.file_size.map(Value::from)),
            ("scratch", self.scratch.map(Value::from)),
            ("openFiles", self.open_files.map(Value::from)),
            ("fuel", self.fuel.map(Value::from)),
        ];
        for (name, value) in said {
            if let Some(value) = value {
                body["limits"][name] = value;
            }
        }
        if self.network {
            body["network"] = json!(true);
        }
    }
}

/// `512Mi`, `1Gi`, `500M`, `4096`.
fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no size: a whole number, perhaps with Ki, Mi, Gi, K, M or G");
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit {
        "" => 1,
        "K" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(factor).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, wanted) in [("4096", 4096), ("512Mi", 512 << 20), ("1G", 1_000_000_000)] {
            assert_eq!(bytes(text), Ok(wanted));
        }
        for text in ["", "Mi", "1.5Gi", "12X", "-1", "99999999999Gi"] {
            let problem = bytes(text).unwrap_err();
            assert!(problem.contains("Mi"), "{problem}");
        }
    }
}
