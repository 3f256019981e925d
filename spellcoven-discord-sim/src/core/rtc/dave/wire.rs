//! What openmls does not show: the proposal references of a commit, and a Welcome cut down to one reader.
//!
//! Nothing that a client sends goes to openmls before its vectors were walked here: the codec it uses panics over lengths
//! that run past the end in builds with debug assertions (tls_codec 0.4.2, `VLBytes`).
//!
//! See: RFC 9420, 2.1.2 (vectors), 6 (framing), 12.4 (commit), 12.4.3.1 (welcome).

/// MLS 1.0.
const MLS_1_0: u16 = 1;

/// Reads from the front; every method is `None` when the bytes run out.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }

    fn u8(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// The length of a vector: 1, 2 or 4 bytes by the first two bits.
    fn length(&mut self) -> Option<usize> {
        let first = self.u8()?;
        let more = match first >> 6 {
            0 => 0,
            1 => 1,
            2 => 3,
            _ => return None,
        };
        let mut value = usize::from(first & 0x3F);
        for byte in self.take(more)? {
            value = value << 8 | usize::from(*byte);
        }
        Some(value)
    }

    fn vector(&mut self) -> Option<&'a [u8]> {
        let length = self.length()?;
        self.take(length)
    }
}

/// Appends a vector with its length before it. Longer ones than 2^30 - 1 bytes do not occur here.
fn put_vector(out: &mut Vec<u8>, content: &[u8]) {
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
    let bytes = length.to_be_bytes();
    match length {
        0..=0x3F => out.extend_from_slice(&bytes[3..]),
        0x40..=0x3FFF => out.extend_from_slice(&[bytes[2] | 0x40, bytes[3]]),
        _ => out.extend_from_slice(&[bytes[0] | 0x80, bytes[1], bytes[2], bytes[3]]),
    }
    out.extend_from_slice(content);
}

/// A vector of its own, as op 27 carries it.
pub(super) fn vector(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + 4);
    put_vector(&mut out, content);
    out
}

/// A commit as far as a server without the group can read it.
#[derive(Debug, PartialEq)]
pub(super) struct Commit<'a> {
    pub(super) group_id: &'a [u8],
    pub(super) epoch: u64,
    /// The committer's leaf.
    pub(super) sender: u32,
    /// The references of the proposals, in order.
    pub(super) references: Vec<&'a [u8]>,
    /// The committer's new leaf, if the commit has a path.
    pub(super) new_leaf: Option<Leaf<'a>>,
}

#[derive(Debug, PartialEq)]
pub(super) struct Leaf<'a> {
    pub(super) signature_key: &'a [u8],
    pub(super) credential_type: u16,
    pub(super) identity: &'a [u8],
}

/// A welcome, split so that one reader's part can be taken.
#[derive(Debug)]
pub(super) struct Welcome<'a> {
    suite: u16,
    /// The reference of the key package, and the whole entry.
    secrets: Vec<(&'a [u8], &'a [u8])>,
    group_info: &'a [u8],
}

impl Welcome<'_> {
    /// How many are welcomed.
    pub(super) fn readers(&self) -> usize {
        self.secrets.len()
    }

    /// The welcome with nothing but the secret for this key package.
    pub(super) fn trimmed(&self, package: &[u8]) -> Option<Vec<u8>> {
        let (_, entry) = self.secrets.iter().find(|(of, _)| *of == package)?;
        let mut out = Vec::with_capacity(entry.len() + self.group_info.len() + 16);
        out.extend_from_slice(&self.suite.to_be_bytes());
        put_vector(&mut out, entry);
        put_vector(&mut out, self.group_info);
        Some(out)
    }
}

/// Reads the payload of op 28: the commit, its bytes, and those of the welcome, which may be none.
pub(super) fn read_commit(payload: &[u8]) -> Result<(Commit<'_>, &[u8], &[u8]), &'static str> {
    let mut reader = Reader(payload);
    let commit = walk_commit(&mut reader)?;
    let (bytes, welcome) = payload
        .split_at_checked(payload.len() - reader.0.len())
        .ok_or(CUT)?;
    Ok((commit, bytes, welcome))
}

const CUT: &str = "a commit that ends early";

fn walk_commit<'a>(reader: &mut Reader<'a>) -> Result<Commit<'a>, &'static str> {
    const PUBLIC_MESSAGE: u16 = 1;
    const FROM_MEMBER: u8 = 1;
    const COMMIT: u8 = 3;
    if reader.u16().ok_or(CUT)? != MLS_1_0 {
        return Err("a commit of another MLS version");
    }
    if reader.u16().ok_or(CUT)? != PUBLIC_MESSAGE {
        return Err("a commit that is not a PublicMessage");
    }
    let group_id = reader.vector().ok_or(CUT)?;
    let epoch = reader.u64().ok_or(CUT)?;
    if reader.u8().ok_or(CUT)? != FROM_MEMBER {
        return Err("a commit that is not a member's");
    }
    let sender = reader.u32().ok_or(CUT)?;
    reader.vector().ok_or(CUT)?;
    if reader.u8().ok_or(CUT)? != COMMIT {
        return Err("a message that is not a commit");
    }
    let references = read_references(reader.vector().ok_or(CUT)?)?;
    let new_leaf = match reader.u8().ok_or(CUT)? {
        0 => None,
        1 => {
            let leaf = read_leaf(reader).ok_or(CUT)?;
            // The encrypted path secrets.
            reader.vector().ok_or(CUT)?;
            Some(leaf)
        }
        _ => return Err("a commit whose path flag is neither 0 nor 1"),
    };
    // Signature, confirmation tag, membership tag.
    for _ in 0..3 {
        reader.vector().ok_or(CUT)?;
    }
    Ok(Commit {
        group_id,
        epoch,
        sender,
        references,
        new_leaf,
    })
}

fn read_references(bytes: &[u8]) -> Result<Vec<&[u8]>, &'static str> {
    const REFERENCE: u8 = 2;
    let mut reader = Reader(bytes);
    let mut references = Vec::new();
    while let Some(kind) = reader.u8() {
        if kind != REFERENCE {
            return Err("a commit with a proposal of its own");
        }
        let reference = reader.vector().ok_or("a commit that ends early")?;
        references.push(reference);
    }
    Ok(references)
}

/// A leaf, to its end.
///
/// See: RFC 9420, 7.2.
fn read_leaf<'a>(reader: &mut Reader<'a>) -> Option<Leaf<'a>> {
    const KEY_PACKAGE: u8 = 1;
    const COMMIT: u8 = 3;
    reader.vector()?;
    let signature_key = reader.vector()?;
    let credential_type = reader.u16()?;
    let identity = reader.vector()?;
    // Capabilities: versions, suites, extensions, proposals, credentials; all of two bytes each.
    for _ in 0..5 {
        reader
            .vector()
            .filter(|list| list.len().is_multiple_of(2))?;
    }
    match reader.u8()? {
        KEY_PACKAGE => {
            reader.take(16)?;
        }
        COMMIT => {
            reader.vector()?;
        }
        _ => return None,
    }
    // DAVE has no extensions in leaves.
    reader.vector().filter(|extensions| extensions.is_empty())?;
    reader.vector()?;
    Some(Leaf {
        signature_key,
        credential_type,
        identity,
    })
}

/// Whether a bare key package has the form of one, so that openmls may look at it.
///
/// See: RFC 9420, 10.
pub(super) fn is_key_package(bytes: &[u8]) -> bool {
    let walk = || {
        let mut reader = Reader(bytes);
        if reader.u16()? != MLS_1_0 {
            return None;
        }
        reader.u16()?;
        reader.vector()?;
        read_leaf(&mut reader)?;
        reader.vector().filter(|extensions| extensions.is_empty())?;
        reader.vector()?;
        reader.0.is_empty().then_some(())
    };
    walk().is_some()
}

pub(super) fn read_welcome(bytes: &[u8]) -> Option<Welcome<'_>> {
    let mut reader = Reader(bytes);
    let suite = reader.u16()?;
    let mut entries = Reader(reader.vector()?);
    let mut secrets = Vec::new();
    while !entries.0.is_empty() {
        let before = entries.0;
        let of = entries.vector()?;
        entries.vector()?;
        entries.vector()?;
        let entry = before.get(..before.len() - entries.0.len())?;
        secrets.push((of, entry));
    }
    let group_info = reader.vector()?;
    reader.0.is_empty().then_some(Welcome {
        suite,
        secrets,
        group_info,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_have_lengths_of_one_two_and_four_bytes() {
        for (length, header) in [
            (0, vec![0]),
            (63, vec![63]),
            (64, vec![0x40, 64]),
            (16_383, vec![0x7F, 0xFF]),
            (16_384, vec![0x80, 0, 0x40, 0]),
        ] {
            let content = vec![7; length];
            let whole = vector(&content);
            assert!(whole.starts_with(&header), "{length}");
            let mut reader = Reader(&whole);
            assert_eq!(reader.vector(), Some(&content[..]), "{length}");
            assert!(reader.0.is_empty());
        }
        assert_eq!(Reader(&[0xC0, 0, 0, 0]).vector(), None);
        assert_eq!(Reader(&[2, 1]).vector(), None);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_readers_panic(bytes: Vec<u8>) {
            let _ = read_commit(&bytes);
            let _ = read_welcome(&bytes);
            let _ = is_key_package(&bytes);
        }
    }
}
