//! The filter language of lists: a subset of [AIP-160](https://google.aip.dev/160).
//!
//! ```text
//! filter     = sequence { "AND" sequence } ;
//! sequence   = factor { "OR" factor } ;          OR binds tighter than AND, as AIP-160 has it
//! factor     = [ "NOT" | "-" ] simple ;
//! simple     = "(" filter ")" | name comparator value ;
//! comparator = "=" | "!=" | "<" | "<=" | ">" | ">=" | ":" ;
//! value      = quoted text | number | true | false | null | bare word ;
//! ```
//! `:` means "contains" for text. The result is a tree; whoever owns the table turns it into
//! bound parameters, never into text.

use crate::error::FieldError;

/// The longest filter accepted, in bytes.
pub const MAX_BYTES: usize = 4_096;
/// The most comparisons in one filter.
pub const MAX_COMPARISONS: usize = 64;
const MAX_DEPTH: usize = 16;

/// A parsed filter.
#[derive(Debug, Clone, PartialEq)]
pub enum Filter {
    /// Every part holds.
    And(Vec<Filter>),
    /// At least one part holds.
    Or(Vec<Filter>),
    /// The part does not hold.
    Not(Box<Filter>),
    /// A field against a value.
    Compare {
        /// The field's name.
        name: String,
        /// How.
        comparator: Comparator,
        /// Against what.
        value: Literal,
    },
}

/// How a field is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparator {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `:`
    Has,
}

impl Comparator {
    /// The SQL operator, where there is one.
    #[must_use]
    pub const fn sql(self) -> Option<&'static str> {
        match self {
            Self::Equal => Some("="),
            Self::NotEqual => Some("<>"),
            Self::Less => Some("<"),
            Self::LessOrEqual => Some("<="),
            Self::Greater => Some(">"),
            Self::GreaterOrEqual => Some(">="),
            Self::Has => None,
        }
    }
}

/// A value in a filter.
#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    /// Quoted text or a bare word.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction or exponent; finite.
    Float(f64),
    /// `true` or `false`.
    Bool(bool),
    /// `null`.
    Null,
}

/// Reads a filter.
///
/// # Errors
/// Names the byte position where the text stops making sense.
pub fn parse(text: &str) -> Result<Filter, FieldError> {
    if text.len() > MAX_BYTES {
        return Err(error(format!("a filter has at most {MAX_BYTES} bytes")));
    }
    let mut parser = Parser { text, position: 0, comparisons: 0 };
    let filter = parser.conjunction(0)?;
    parser.skip_space();
    if parser.position < text.len() {
        return Err(parser.unexpected("AND, OR or the end"));
    }
    Ok(filter)
}

fn error(detail: String) -> FieldError {
    FieldError::new("filter", "invalid_filter", detail)
}

struct Parser<'a> {
    text: &'a str,
    position: usize,
    comparisons: usize,
}

impl Parser<'_> {
    fn rest(&self) -> &str {
        &self.text[self.position..]
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        self.position += rest.len() - rest.trim_start().len();
    }

    fn unexpected(&self, wanted: &str) -> FieldError {
        let found: String = self.rest().chars().take(12).collect();
        let found = if found.is_empty() { "the end".to_owned() } else { format!("{found:?}") };
        error(format!("expected {wanted} at byte {}, found {found}", self.position))
    }

    fn keyword(&mut self, word: &str) -> bool {
        self.skip_space();
        let rest = self.rest();
        let found = rest.starts_with(word) && !rest[word.len()..].starts_with(is_word);
        if found {
            self.position += word.len();
        }
        found
    }

    fn symbol(&mut self, symbol: &str) -> bool {
        self.skip_space();
        let found = self.rest().starts_with(symbol);
        if found {
            self.position += symbol.len();
        }
        found
    }

    fn conjunction(&mut self, depth: usize) -> Result<Filter, FieldError> {
        let mut parts = vec![self.disjunction(depth)?];
        while self.keyword("AND") {
            parts.push(self.disjunction(depth)?);
        }
        Ok(one_or(parts, Filter::And))
    }

    fn disjunction(&mut self, depth: usize) -> Result<Filter, FieldError> {
        let mut parts = vec![self.factor(depth)?];
        while self.keyword("OR") {
            parts.push(self.factor(depth)?);
        }
        Ok(one_or(parts, Filter::Or))
    }

    fn factor(&mut self, depth: usize) -> Result<Filter, FieldError> {
        if depth > MAX_DEPTH {
            return Err(error(format!("a filter nests at most {MAX_DEPTH} levels")));
        }
        if self.keyword("NOT") || self.symbol("-") {
            return Ok(Filter::Not(Box::new(self.factor(depth + 1)?)));
        }
        if self.symbol("(") {
            let inner = self.conjunction(depth + 1)?;
            if !self.symbol(")") {
                return Err(self.unexpected("a closing parenthesis"));
            }
            return Ok(inner);
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Result<Filter, FieldError> {
        self.comparisons += 1;
        if self.comparisons > MAX_COMPARISONS {
            return Err(error(format!("a filter has at most {MAX_COMPARISONS} comparisons")));
        }
        self.skip_space();
        let name: String =
            self.rest().chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_' || *c == '.').collect();
        if !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            return Err(self.unexpected("a field name"));
        }
        self.position += name.len();
        let comparator = self.comparator()?;
        let value = self.value()?;
        Ok(Filter::Compare { name, comparator, value })
    }

    fn comparator(&mut self) -> Result<Comparator, FieldError> {
        const ALL: [(&str, Comparator); 7] = [
            ("!=", Comparator::NotEqual),
            ("<=", Comparator::LessOrEqual),
            (">=", Comparator::GreaterOrEqual),
            ("=", Comparator::Equal),
            ("<", Comparator::Less),
            (">", Comparator::Greater),
            (":", Comparator::Has),
        ];
        for (symbol, comparator) in ALL {
            if self.symbol(symbol) {
                return Ok(comparator);
            }
        }
        Err(self.unexpected("one of = != < <= > >= :"))
    }

    fn value(&mut self) -> Result<Literal, FieldError> {
        self.skip_space();
        if let Some(quote) = self.rest().chars().next().filter(|c| matches!(c, '"' | '\'')) {
            return self.quoted(quote);
        }
        let word: String =
            self.rest().chars().take_while(|c| is_word(*c) || matches!(c, '.' | ':' | '+' | '-' | '*' | '/')).collect();
        if word.is_empty() {
            return Err(self.unexpected("a value"));
        }
        self.position += word.len();
        Ok(match word.as_str() {
            "true" => Literal::Bool(true),
            "false" => Literal::Bool(false),
            "null" => Literal::Null,
            _ => number(&word).unwrap_or(Literal::Text(word)),
        })
    }

    fn quoted(&mut self, quote: char) -> Result<Literal, FieldError> {
        let mut value = String::new();
        let mut chars = self.rest().char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => match chars.next() {
                    Some((_, escaped)) => value.push(escaped),
                    None => break,
                },
                c if c == quote => {
                    self.position += at + c.len_utf8();
                    return Ok(Literal::Text(value));
                }
                c => value.push(c),
            }
        }
        Err(self.unexpected("a closing quotation mark"))
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn number(word: &str) -> Option<Literal> {
    let starts = word.trim_start_matches(['-', '+']).starts_with(|c: char| c.is_ascii_digit() || c == '.');
    if !starts {
        return None;
    }
    if let Ok(integer) = word.parse() {
        return Some(Literal::Integer(integer));
    }
    word.parse().ok().filter(|float: &f64| float.is_finite()).map(Literal::Float)
}

fn one_or(mut parts: Vec<Filter>, many: impl FnOnce(Vec<Filter>) -> Filter) -> Filter {
    if parts.len() == 1 { parts.swap_remove(0) } else { many(parts) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compare(name: &str, comparator: Comparator, value: Literal) -> Filter {
        Filter::Compare { name: name.into(), comparator, value }
    }

    #[test]
    fn or_binds_tighter_than_and() {
        let a = || compare("a", Comparator::Equal, Literal::Integer(1));
        let b = || compare("b", Comparator::Greater, Literal::Float(2.5));
        let c = || compare("c", Comparator::Has, Literal::Text("x y".into()));
        assert_eq!(parse("a=1 AND b > 2.5 OR c:\"x y\""), Ok(Filter::And(vec![a(), Filter::Or(vec![b(), c()])])));
        assert_eq!(parse("NOT (a = 1 AND b > 2.5)"), Ok(Filter::Not(Box::new(Filter::And(vec![a(), b()])))));
    }

    #[test]
    fn bare_words_are_text_and_times_need_no_quotes() {
        let time = Literal::Text("2026-01-01T00:00:00Z".into());
        assert_eq!(
            parse("created_at >= 2026-01-01T00:00:00Z"),
            Ok(compare("created_at", Comparator::GreaterOrEqual, time))
        );
        assert_eq!(parse("state = ACTIVE"), Ok(compare("state", Comparator::Equal, Literal::Text("ACTIVE".into()))));
    }

    #[test]
    fn errors_name_the_position() {
        let detail = parse("a = 1 AND").unwrap_err().detail;
        assert_eq!(detail, "expected a field name at byte 9, found the end");
        for wrong in ["", "a", "a =", "a = 'x", "(a = 1", "a = 1 b = 2", "1 = a", "a ~ 1"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert!(parse(&"(".repeat(100)).is_err());
        assert!(parse(&vec!["a=1"; 65].join(" AND ")).is_err());
    }
}
