//! Tables as the original printed them: centred upper-case headers, no border, `|` between the columns.
//!
//! Nothing follows the last cell of a line: trailing blanks are cut.

use crate::out::plain;

/// A table that is printed once it is whole.
pub(crate) struct Table {
    header: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table.
    pub(crate) fn new(header: &[&'static str]) -> Self {
        Self {
            header: header.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row; a cell may have several lines.
    pub(crate) fn push(&mut self, row: Vec<String>) {
        self.rows.push(row);
    }

    /// The whole text, every line ended.
    pub(crate) fn render(&self) -> String {
        let mut columns = Columns::new(&self.header);
        for row in &self.rows {
            columns.widen(row);
        }
        let mut text = columns.header(&self.header);
        for row in &self.rows {
            text.push_str(&columns.row(row));
        }
        text
    }
}

/// Widths of the columns, for tables that grow while they are printed.
pub(crate) struct Columns {
    widths: Vec<usize>,
}

impl Columns {
    /// As wide as the headers.
    pub(crate) fn new(header: &[&str]) -> Self {
        Self {
            widths: header.iter().map(|title| width(title)).collect(),
        }
    }

    /// At least as wide as this row.
    pub(crate) fn widen(&mut self, row: &[String]) {
        for (column, cell) in self.widths.iter_mut().zip(row) {
            let widest = cell.lines().map(width).max().unwrap_or(0);
            *column = (*column).max(widest);
        }
    }

    /// The header line.
    pub(crate) fn header(&self, header: &[&str]) -> String {
        let cells = header.iter().zip(&self.widths).map(|(title, &column)| {
            let gap = column - width(title);
            let left = gap / 2;
            format!(
                "{}{}{}",
                " ".repeat(left),
                title.to_uppercase(),
                " ".repeat(gap - left)
            )
        });
        joined(cells)
    }

    /// The lines of one row.
    pub(crate) fn row(&self, row: &[String]) -> String {
        let cells: Vec<Vec<String>> = row
            .iter()
            .map(|cell| plain(cell).lines().map(str::to_owned).collect())
            .collect();
        let height = cells.iter().map(Vec::len).max().unwrap_or(1).max(1);
        (0..height)
            .map(|n| {
                joined(cells.iter().zip(&self.widths).map(|(lines, &column)| {
                    let line = lines.get(n).map_or("", String::as_str);
                    let gap = " ".repeat(column.saturating_sub(width(line)));
                    if is_number(line) {
                        format!("{gap}{line}")
                    } else {
                        format!("{line}{gap}")
                    }
                }))
            })
            .collect()
    }
}

fn joined(cells: impl Iterator<Item = String>) -> String {
    let line = cells.collect::<Vec<_>>().join(" | ");
    let mut line = format!("  {line}").trim_end().to_owned();
    line.push('\n');
    line
}

fn width(text: &str) -> usize {
    text.chars().count()
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_looks_as_in_the_published_transcript() {
        let mut table = Table::new(&["NAME", "FUNCTION", "PROTOCOL", "METHOD", "DOMAIN", "PATH", "AUTH"]);
        let cells = [
            "api-hello",
            "hello-world",
            "http\nhttps",
            "POST",
            "",
            "http://10.156.250.95:8081/dispatch/hello\nhttps://10.156.250.95/dispatch/hello",
            "public",
        ];

        table.push(cells.map(str::to_owned).to_vec());

        let expected = [
            "    NAME    |  FUNCTION   | PROTOCOL | METHOD | DOMAIN |                   PATH                   |  AUTH",
            "  api-hello | hello-world | http     | POST   |        | http://10.156.250.95:8081/dispatch/hello | public",
            "            |             | https    |        |        | https://10.156.250.95/dispatch/hello     |",
        ];
        assert_eq!(table.render().lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn an_empty_table_is_its_header() {
        let table = Table::new(&["NAME", "URL"]);

        assert_eq!(table.render(), "  NAME | URL\n");
    }

    #[test]
    fn numbers_stand_right_and_control_characters_become_blanks() {
        let mut table = Table::new(&["ID", "ATTEMPTS"]);

        table.push(vec!["a\u{1b}[2J!".to_owned(), "11".to_owned()]);

        assert_eq!(table.render(), "    ID   | ATTEMPTS\n  a [2J! |       11\n");
    }
}
