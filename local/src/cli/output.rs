//! Aligned, rounded output for people.

/// An aligned table: text to the left, numbers to the right.
pub(super) fn table(headers: &[&str], rows: &[Vec<String>]) -> String {
    let width = |c: usize| {
        let cells = rows.iter().map(|r| r[c].chars().count());
        cells.chain([headers[c].chars().count()]).max().unwrap_or(0)
    };
    let numeric = |c: usize| {
        let number = |s: &str| s.is_empty() || s.starts_with(|b: char| b.is_ascii_digit() || b == '-');
        !rows.is_empty() && rows.iter().all(|r| number(&r[c]))
    };
    let line = |cells: &[&str]| {
        let cells: Vec<_> = cells
            .iter()
            .enumerate()
            .map(|(c, cell)| {
                let pad = " ".repeat(width(c).saturating_sub(cell.chars().count()));
                if numeric(c) { format!("{pad}{cell}") } else { format!("{cell}{pad}") }
            })
            .collect();
        cells.join("  ").trim_end().to_owned()
    };
    let mut out = vec![line(headers)];
    out.extend(rows.iter().map(|r| line(&r.iter().map(String::as_str).collect::<Vec<_>>())));
    out.join("\n")
}

/// `1234567` → `1,234,567`.
pub(super) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, d) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(d);
    }
    out
}

/// Bytes in MB: one decimal, or as many as show a few bytes.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        ..100_000 => format!("{:.3} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

/// Milliseconds in the largest unit that keeps two digits.
pub(super) fn span(ms: i64) -> String {
    match ms {
        ..=0 => "0 s".to_owned(),
        1..1_000 => format!("{ms} ms"),
        1_000..120_000 => format!("{:.1} s", ms as f64 / 1e3),
        120_000..7_200_000 => format!("{:.1} min", ms as f64 / 6e4),
        7_200_000..172_800_000 => format!("{:.1} h", ms as f64 / 3.6e6),
        _ => format!("{:.1} d", ms as f64 / 8.64e7),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn sizes_have_a_digit_that_counts() {
        for (bytes, expected) in
            [(0, "0.000 MB"), (3_148, "0.003 MB"), (100_000, "0.1 MB"), (43_260_000, "43.3 MB")]
        {
            assert_eq!(super::size(bytes), expected);
        }
    }

    #[test]
    fn spans_are_rounded() {
        let cases = [
            (-5, "0 s"),
            (0, "0 s"),
            (12, "12 ms"),
            (1_250, "1.2 s"),
            (150_000, "2.5 min"),
            (9_000_000, "2.5 h"),
        ];
        for (ms, expected) in cases {
            assert_eq!(super::span(ms), expected);
        }
        assert_eq!(super::span(3 * 86_400_000), "3.0 d");
    }

    #[test]
    fn numbers_stand_to_the_right() {
        let rows = [vec!["a".into(), "1".into()], vec!["bcd".into(), "1,000".into()]];
        assert_eq!(super::table(&["name", "rows"], &rows), "name   rows\na         1\nbcd   1,000");
        assert_eq!(super::count(1_234_567), "1,234,567");
    }
}
