//! Numbers that are read from the back row.

/// A number for reading from afar: three digits are enough, thousands get a comma.
pub fn number(v: f64) -> String {
    if !v.is_finite() {
        return "–".into();
    }
    let small = v.abs() < 9.95 && (v - v.round()).abs() > 0.04;
    let digits = format!("{:.*}", usize::from(small), v.max(0.0));
    match digits.len() {
        4.. if !small => {
            let (head, tail) = digits.split_at(digits.len() - 3);
            format!("{head},{tail}")
        }
        _ => digits,
    }
}
