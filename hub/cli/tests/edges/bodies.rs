//! Bodies that are not what their type says.

use anyhow::Result;

use crate::stage::{Table, echoing, told};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_not_what_its_type_says_never_reaches_the_function() -> Result<()> {
    let stage = echoing().await?;
    let form = "application/x-www-form-urlencoded";
    let parts = "multipart/form-data; boundary=X";
    let part = "--X\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n";
    let large = format!("[{}1]", "1,".repeat(600));
    let deep = "[".repeat(900);
    let rows: Vec<(&str, &str, &[u8], u16, &str)> = vec![
        (
            "JSON that is none",
            "application/json",
            b"gar{bage",
            400,
            "request body is not json",
        ),
        (
            "two documents",
            "application/json",
            b"{} {}",
            400,
            "request body is not json",
        ),
        (
            "half a document",
            "application/json",
            b"{\"a\":",
            400,
            "request body is not json",
        ),
        (
            "deep JSON",
            "application/json",
            deep.as_bytes(),
            400,
            "request body is not json",
        ),
        (
            "JSON that is no UTF-8",
            "application/json",
            b"\"\xff\"",
            400,
            "request body is not json",
        ),
        (
            "JSON with a byte order mark",
            "application/json",
            b"\xef\xbb\xbf{}",
            400,
            "request body is not json",
        ),
        ("NaN", "application/json", b"NaN", 400, "request body is not json"),
        (
            "JSON in UTF-16",
            "application/json; charset=utf-16",
            b"{\0}\0",
            400,
            "request body is not json",
        ),
        (
            "a body that is too large",
            "application/json",
            large.as_bytes(),
            413,
            "larger than 1000 bytes",
        ),
        ("a form that is JSON", form, b"{\"a\":1}", 200, "{\\\"a\\\":1}"),
        ("a form with broken escapes", form, b"a=%zz&=&&b", 200, "%zz"),
        (
            "parts without a boundary",
            "multipart/form-data",
            part.as_bytes(),
            400,
            "request body is not a form",
        ),
        (
            "parts without an end",
            parts,
            part.as_bytes(),
            400,
            "request body is not a form",
        ),
        (
            "parts that are none",
            parts,
            b"nothing",
            400,
            "request body is not a form",
        ),
        (
            "a part without a name",
            parts,
            b"--X\r\nContent-Disposition: form-data\r\n\r\n1\r\n--X--\r\n",
            200,
            "\"\":\"1\"",
        ),
        (
            "a type that is none",
            "json",
            b"{}",
            400,
            "request body type is not supported: json",
        ),
        (
            "a type nobody knows",
            "application/x-unknown",
            b"{}",
            400,
            "request body type is not supported: application/x-unknown",
        ),
        (
            "parts of another kind",
            "multipart/mixed; boundary=X",
            part.as_bytes(),
            400,
            "not supported: multipart/mixed",
        ),
    ];

    let mut table = Table::new("body | status | what came back");
    for (what, ty, body, status, wanted) in rows {
        let request = stage
            .ask("POST /dispatch/hello")
            .header("content-type", ty)
            .body(body.to_vec());
        let answer = told(request).await?;
        let said = match status {
            200 => answer.body.to_string(),
            _ => answer.said(),
        };
        table.row(what, answer.status, status, &said, wanted);
    }
    let packed = stage
        .ask("POST /dispatch/hello")
        .header("content-type", "application/json")
        .header("content-encoding", "gzip")
        .body(vec![0x1f, 0x8b, 8, 0]);
    let packed = told(packed).await?;
    table.row(
        "packed JSON",
        packed.status,
        415,
        &packed.said(),
        "content-encoding: is \"gzip\"",
    );
    table.done()
}
