//! The official test suite of JSON Schema, through the same door as the schemas of functions.

use anyhow::Result;
use dispatch_contract::FunctionErrorKind;
use dispatch_fixtures::schema_suite::SchemaSuite;
use serde_json::json;

use super::{compiled, fits};

/// Where the suite's server would serve other documents; the hub fetches none.
const ELSEWHERE: &str = "http://localhost:1234/";
const DRAFTS: [(&str, &str); 5] = [
    ("draft4", "http://json-schema.org/draft-04/schema#"),
    ("draft6", "http://json-schema.org/draft-06/schema#"),
    ("draft7", "http://json-schema.org/draft-07/schema#"),
    ("draft2019-09", "https://json-schema.org/draft/2019-09/schema"),
    ("draft2020-12", "https://json-schema.org/draft/2020-12/schema"),
];

#[test]
fn each_draft_s_own_test_suite_agrees() -> Result<()> {
    let Some(suite) = SchemaSuite::new()? else {
        return Ok(());
    };
    let mut wrong = Vec::new();
    println!("| draft | cases | agreed | need another document, refused |\n|---|---|---|---|");
    for (draft, uri) in DRAFTS {
        let (mut agreed, mut refused, mut all) = (0, 0, 0);
        for mut case in suite.cases(draft)? {
            all += 1;
            if let Some(schema) = case.schema.as_object_mut() {
                // The older drafts' cases leave it to the reader.
                schema.entry("$schema").or_insert(json!(uri));
            }
            let schema = compiled("schema.in", Some(&case.schema));
            if let Some(Err(bad)) = &schema
                && case.schema.to_string().contains(ELSEWHERE)
            {
                assert!(bad.to_string().starts_with("schema.in: "), "{bad}");
                refused += 1;
                continue;
            }
            let payload = serde_json::to_vec(&case.data)?;
            let told = fits(schema.as_ref(), &payload, FunctionErrorKind::Input, "Input");
            let bad = schema.as_ref().is_some_and(|schema| schema.is_err());
            match told.is_ok() == case.valid && !bad {
                true => agreed += 1,
                false => wrong.push(format!("{}: {told:?}", case.place)),
            }
        }
        println!("| {draft} | {all} | {agreed} | {refused} |");
        assert!(refused * 20 < all, "{draft}: {refused} of {all} refused");
    }
    assert!(
        wrong.is_empty(),
        "{} disagree:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    Ok(())
}
