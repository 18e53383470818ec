//! Single numbers of NumPy, which optimizers and schedulers leave in their states.

use half::f16;

use super::value::Node;

/// The few types of which a single number is kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum NumpyType {
    Bool,
    Signed(usize),
    Unsigned(usize),
    /// Bytes: 2, 4 or 8.
    Float(usize),
}

impl NumpyType {
    /// From a type code such as `f8`; one that is big-endian, a structure or a text has none.
    pub(super) fn from_code(code: &str) -> Option<Self> {
        let code = code.trim_start_matches(['<', '|', '=']);
        let size = |digits: &str| {
            digits
                .parse()
                .ok()
                .filter(|size| matches!(size, 1 | 2 | 4 | 8))
        };
        match code.split_at_checked(1)? {
            ("b", "1") => Some(Self::Bool),
            ("i", digits) => size(digits).map(Self::Signed),
            ("u", digits) => size(digits).map(Self::Unsigned),
            ("f", digits) => size(digits).filter(|&size| size > 1).map(Self::Float),
            _ => None,
        }
    }

    /// The number that these bytes are.
    pub(super) fn value(self, bytes: &[u8]) -> Option<Node<'static>> {
        let mut wide = [0; 8];
        let (Self::Signed(size) | Self::Unsigned(size) | Self::Float(size)) = self else {
            return (bytes.len() == 1).then(|| Node::Bool(bytes[0] != 0));
        };
        if bytes.len() != size {
            return None;
        }
        wide[..size].copy_from_slice(bytes);
        Some(match (self, size) {
            (Self::Float(_), 2) => Node::Float(f16::from_le_bytes([wide[0], wide[1]]).to_f64()),
            (Self::Float(_), 4) => {
                Node::Float(f32::from_le_bytes([wide[0], wide[1], wide[2], wide[3]]).into())
            }
            (Self::Float(_), _) => Node::Float(f64::from_le_bytes(wide)),
            (Self::Signed(_), _) => {
                let unused = 64 - 8 * size;
                Node::Int(i64::from_le_bytes(wide) << unused >> unused)
            }
            _ => Node::Int(i64::try_from(u64::from_le_bytes(wide)).ok()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        let value = |code, bytes: &[u8]| NumpyType::from_code(code)?.value(bytes);
        assert!(matches!(value("<i2", &[0xFE, 0xFF]), Some(Node::Int(-2))));
        assert!(matches!(value("u1", &[0xFE]), Some(Node::Int(254))));
        assert!(matches!(value("b1", &[1]), Some(Node::Bool(true))));
        assert!(matches!(
            value("f8", &1.5f64.to_le_bytes()),
            Some(Node::Float(1.5))
        ));
        assert!(matches!(value("f2", &[0, 0x3C]), Some(Node::Float(1.0))));
        assert!(value("f8", &[0; 4]).is_none());
        assert!(value(">f8", &[0; 8]).is_none());
        assert!(value("f1", &[0]).is_none());
        assert!(value("é", &[0]).is_none());
    }
}
