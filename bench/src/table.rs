//! A result as Markdown, for documents: its rows with the figures people ask for first, and its targets.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use serde_json::Value;

/// Which results.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Results of `bench/run`
    #[arg(required = true, value_name = "RESULT")]
    results: Vec<PathBuf>,
}

const COLUMNS: &[(&str, &str, f64)] = &[
    ("acks/s", "/acks_per_second", 1.0),
    ("delivered/s", "/deliveries_per_second", 1.0),
    ("e2e p50 ms", "/end_to_end_micros/p50", 1e3),
    ("e2e p99 ms", "/end_to_end_micros/p99", 1e3),
    ("answer p50 µs", "/ack_micros/p50", 1.0),
    ("answer p99 µs", "/ack_micros/p99", 1.0),
    ("CPU µs/event", "/process/cpu_micros_per_event/total", 1.0),
    ("of it kernel", "/process/cpu_micros_per_event/system", 1.0),
    ("children's", "/children/cpu_micros_per_event/total", 1.0),
    ("a core·s", "/per_core_second", 1.0),
    ("switches/event", "/process/switches_per_event/voluntary", 1.0),
    ("peak MiB", "/process/rss_peak_bytes", 1_048_576.0),
    ("peak MiB", "/rss_peak_bytes", 1_048_576.0),
    ("CPU µs/s", "/cpu_micros_per_second/total", 1.0),
    ("switches/s", "/switches_per_second/voluntary", 1.0),
    ("start ms", "/start_micros", 1e3),
    ("generator µs/event", "/generator/cpu_micros_per_event/total", 1.0),
];

/// Prints them.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    for path in &args.results {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let result: Value =
            serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()))?;
        std::io::stdout().write_all(table(&result).as_bytes())?;
    }
    Ok(())
}

/// The median of each figure; in the targets the least and the most as well.
fn table(result: &Value) -> String {
    let rows: Vec<&Value> = result["rows"].as_array().into_iter().flatten().collect();
    let median = |row: &Value, path: &str| row.pointer(&format!("{path}/median")).and_then(Value::as_f64);
    let some = |path: &str| rows.iter().any(|row| median(row, path).is_some());
    // Where something is delivered, the answer is the lesser half of it.
    let shown =
        |path: &str| some(path) && !(path.starts_with("/ack_micros") && some("/end_to_end_micros/p50"));
    let columns: Vec<_> = COLUMNS.iter().filter(|(_, path, _)| shown(path)).collect();
    let say = |value: &Value| value.as_str().unwrap_or_default().to_owned();

    let mut lines = vec![format!(
        "### {} ({}, {})\n",
        say(&result["case"]),
        say(&result["commit"]),
        say(&result["date"])
    )];
    let titles: Vec<_> = columns.iter().map(|(title, ..)| *title).collect();
    lines.push(format!("| row | {} |", titles.join(" | ")));
    lines.push(format!("|---|{}", "---:|".repeat(columns.len())));
    for row in &rows {
        let cells: Vec<_> = columns
            .iter()
            .map(|(_, path, unit)| median(row, path).map_or("-".to_owned(), |n| number(n / unit)))
            .collect();
        lines.push(format!("| {} | {} |", say(&row["name"]), cells.join(" | ")));
    }
    let targets: Vec<&Value> = result["targets"].as_array().into_iter().flatten().collect();
    if !targets.is_empty() {
        lines.push("\n| target | median (least to most) | met |\n|---|---:|---|".to_owned());
    }
    for target in targets {
        let of = |key: &str| number(target["measured"][key].as_f64().unwrap_or(f64::NAN));
        lines.push(format!(
            "| `{}` | {} ({} to {}) | {} |",
            say(&target["target"]),
            of("median"),
            of("min"),
            of("max"),
            if target["met"] == true { "yes" } else { "no" }
        ));
    }
    lines.join("\n") + "\n\n"
}

/// Three digits or more.
fn number(n: f64) -> String {
    match n.abs() {
        0.0 => "0".to_owned(),
        size if size >= 100.0 => format!("{n:.0}"),
        size if size >= 10.0 => format!("{n:.1}"),
        _ => format!("{n:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_table_has_the_columns_its_rows_have_and_says_what_was_met() {
        let spread = json!({"median": 1234.4, "min": 0.5, "max": 20.25});
        let result = json!({
            "case": "c", "commit": "f00", "date": "d",
            "rows": [
                {"name": "hub", "acks_per_second": spread, "end_to_end_micros": {"p50": spread}},
                {"name": "none"},
            ],
            "targets": [{"target": "hub acks >= 1", "measured": spread, "met": true}],
        });

        let expected = "### c (f00, d)\n\n\
            | row | acks/s | e2e p50 ms |\n|---|---:|---:|\n| hub | 1234 | 1.23 |\n| none | - | - |\n\n\
            | target | median (least to most) | met |\n|---|---:|---|\n\
            | `hub acks >= 1` | 1234 (0.50 to 20.2) | yes |\n\n";
        assert_eq!(table(&result), expected);
    }
}
