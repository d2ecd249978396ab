//! Writes the HDF5 that h5py writes by default, for tests: superblock 0,
//! symbol tables, object headers 1, contiguous arrays or chunks behind a
//! version 1 B-tree, with shuffling and (stored) deflate.

/// What an array holds.
#[derive(Clone)]
pub enum Numbers {
    F32(Vec<f32>),
    F64(Vec<f64>),
    /// As NumPy's bools: an enumeration.
    Bools(Vec<bool>),
    I64(Vec<i64>),
}

/// Something with a name in a group.
#[derive(Clone)]
pub enum Node {
    Group(Vec<(String, Node)>),
    Array {
        shape: Vec<u64>,
        numbers: Numbers,
        /// Rows per chunk; `None` is contiguous.
        chunk: Option<u64>,
    },
    /// An array of variable-length text with nothing in it.
    Text,
}

impl Node {
    pub fn array(shape: &[u64], numbers: Numbers) -> Self {
        Node::Array { shape: shape.to_vec(), numbers, chunk: None }
    }

    pub fn chunked(shape: &[u64], numbers: Numbers, chunk: u64) -> Self {
        Node::Array { shape: shape.to_vec(), numbers, chunk: Some(chunk) }
    }
}

pub fn named<const N: usize>(nodes: [(&str, Node); N]) -> Vec<(String, Node)> {
    nodes.into_iter().map(|(name, node)| (name.to_owned(), node)).collect()
}

const UNDEFINED: u64 = u64::MAX;
/// Half the entries of a symbol node: all of a group's members fit into one.
const LEAF_K: u16 = 64;

/// The file that holds `root`.
pub fn file(root: Vec<(String, Node)>) -> Vec<u8> {
    let mut out = vec![0; 96];
    let (header, tree, heap) = group(&mut out, root);
    let end = out.len() as u64;
    let mut head = b"\x89HDF\r\n\x1a\n".to_vec();
    head.extend([0, 0, 0, 0, 0, 8, 8, 0]);
    head.extend(LEAF_K.to_le_bytes());
    head.extend(16_u16.to_le_bytes());
    head.extend(0_u32.to_le_bytes());
    for word in [0, UNDEFINED, end, UNDEFINED, 0, header] {
        head.extend(word.to_le_bytes());
    }
    head.extend([1, 0, 0, 0, 0, 0, 0, 0]);
    head.extend(tree.to_le_bytes());
    head.extend(heap.to_le_bytes());
    assert_eq!(head.len(), 96);
    out[..96].copy_from_slice(&head);
    out
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) -> u64 {
    out.resize(out.len().next_multiple_of(8), 0);
    let at = out.len() as u64;
    out.extend_from_slice(bytes);
    at
}

/// Addresses of the group's header, B-tree and heap.
fn group(out: &mut Vec<u8>, mut members: Vec<(String, Node)>) -> (u64, u64, u64) {
    members.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(members.len() <= 2 * usize::from(LEAF_K));
    let mut names = vec![0; 8];
    let mut entries = Vec::new();
    for (name, node) in members {
        let offset = names.len() as u64;
        names.extend(name.bytes());
        names.push(0);
        names.resize(names.len().next_multiple_of(8), 0);
        let (header, kind, scratch) = match node {
            Node::Group(members) => {
                let (header, tree, heap) = group(out, members);
                (header, 1_u32, [tree, heap])
            }
            Node::Array { shape, numbers, chunk } => {
                (array(out, &shape, &numbers, chunk), 0, [0; 2])
            }
            Node::Text => (text(out), 0, [0; 2]),
        };
        entries.extend(offset.to_le_bytes());
        entries.extend(header.to_le_bytes());
        entries.extend(kind.to_le_bytes());
        entries.extend([0; 4]);
        scratch.iter().for_each(|word| entries.extend(word.to_le_bytes()));
    }
    let count = (entries.len() / 40) as u16;
    let last = names.len() as u64 - 8;
    let data = put(out, &names);
    let mut heap = b"HEAP\0\0\0\0".to_vec();
    for word in [names.len() as u64, 1, data] {
        heap.extend(word.to_le_bytes());
    }
    let heap = put(out, &heap);
    let mut symbols = b"SNOD\x01\0".to_vec();
    symbols.extend(count.to_le_bytes());
    symbols.extend(entries);
    let symbols = put(out, &symbols);
    let mut tree = b"TREE\0\0".to_vec();
    tree.extend(1_u16.to_le_bytes());
    for word in [UNDEFINED, UNDEFINED, 0, symbols, last] {
        tree.extend(word.to_le_bytes());
    }
    let tree = put(out, &tree);
    let mut table = tree.to_le_bytes().to_vec();
    table.extend(heap.to_le_bytes());
    (header(out, &[(0x11, table)]), tree, heap)
}

fn header(out: &mut Vec<u8>, messages: &[(u16, Vec<u8>)]) -> u64 {
    let mut body = Vec::new();
    for (kind, data) in messages {
        let size = data.len().next_multiple_of(8);
        body.extend(kind.to_le_bytes());
        body.extend((size as u16).to_le_bytes());
        body.extend([0; 4]);
        body.extend(data);
        body.resize(body.len() + size - data.len(), 0);
    }
    let mut head = vec![1, 0];
    head.extend((messages.len() as u16).to_le_bytes());
    head.extend(1_u32.to_le_bytes());
    head.extend((body.len() as u32).to_le_bytes());
    head.extend([0; 4]);
    head.extend(body);
    put(out, &head)
}

fn space(shape: &[u64]) -> Vec<u8> {
    let mut message = vec![1, shape.len() as u8, 0, 0, 0, 0, 0, 0];
    shape.iter().for_each(|extent| message.extend(extent.to_le_bytes()));
    message
}

fn text(out: &mut Vec<u8>) -> u64 {
    let mut kind = vec![0x19, 1, 0, 0];
    kind.extend(16_u32.to_le_bytes());
    kind.extend(integer(1, false));
    let mut layout = vec![3, 1];
    layout.extend(UNDEFINED.to_le_bytes());
    layout.extend(0_u64.to_le_bytes());
    header(out, &[(1, space(&[0])), (3, kind), (8, layout)])
}

fn integer(size: u8, signed: bool) -> Vec<u8> {
    let mut kind = vec![0x10, u8::from(signed) * 8, 0, 0];
    kind.extend(u32::from(size).to_le_bytes());
    kind.extend(0_u16.to_le_bytes());
    kind.extend((8 * u16::from(size)).to_le_bytes());
    kind
}

fn float(double: bool) -> Vec<u8> {
    let (sign, size, exponent, width, mantissa, bias) =
        if double { (63, 8_u32, 52, 11, 52, 1023_u32) } else { (31, 4, 23, 8, 23, 127) };
    let mut kind = vec![0x11, 0x20, sign, 0];
    kind.extend(size.to_le_bytes());
    kind.extend(0_u16.to_le_bytes());
    kind.extend((8 * size as u16).to_le_bytes());
    kind.extend([exponent, width, 0, mantissa]);
    kind.extend(bias.to_le_bytes());
    kind
}

fn bools() -> Vec<u8> {
    let mut kind = vec![0x18, 2, 0, 0];
    kind.extend(1_u32.to_le_bytes());
    kind.extend(integer(1, true));
    kind.extend(b"FALSE\0\0\0TRUE\0\0\0\0");
    kind.extend([0, 1]);
    kind
}

fn array(out: &mut Vec<u8>, shape: &[u64], numbers: &Numbers, chunk: Option<u64>) -> u64 {
    let (kind, size, raw): (Vec<u8>, u32, Vec<u8>) = match numbers {
        Numbers::F32(values) => {
            (float(false), 4, values.iter().flat_map(|value| value.to_le_bytes()).collect())
        }
        Numbers::F64(values) => {
            (float(true), 8, values.iter().flat_map(|value| value.to_le_bytes()).collect())
        }
        Numbers::Bools(values) => (bools(), 1, values.iter().map(|&value| value.into()).collect()),
        Numbers::I64(values) => {
            (integer(8, true), 8, values.iter().flat_map(|value| value.to_le_bytes()).collect())
        }
    };
    let mut messages = vec![(1, space(shape)), (3, kind)];
    match chunk {
        None => {
            let mut layout = vec![3, 1];
            layout.extend(put(out, &raw).to_le_bytes());
            layout.extend((raw.len() as u64).to_le_bytes());
            messages.push((8, layout));
        }
        Some(rows) => {
            let tree = chunks(out, shape, rows, size, &raw);
            let mut pipeline = vec![1, 2, 0, 0, 0, 0, 0, 0];
            for (id, value) in [(2_u16, size), (1, 4)] {
                pipeline.extend(id.to_le_bytes());
                pipeline.extend([0, 0, 0, 0, 1, 0]);
                pipeline.extend(value.to_le_bytes());
                pipeline.extend([0; 4]);
            }
            messages.push((0x0b, pipeline));
            let mut layout = vec![3, 2, shape.len() as u8 + 1];
            layout.extend(tree.to_le_bytes());
            layout.extend((rows as u32).to_le_bytes());
            shape[1..].iter().for_each(|&extent| layout.extend((extent as u32).to_le_bytes()));
            layout.extend(size.to_le_bytes());
            messages.push((8, layout));
        }
    }
    header(out, &messages)
}

fn chunks(out: &mut Vec<u8>, shape: &[u64], rows: u64, size: u32, raw: &[u8]) -> u64 {
    let row = (shape[1..].iter().product::<u64>() * u64::from(size)) as usize;
    let whole = rows as usize * row;
    let mut tree = Vec::new();
    let mut count = 0_u16;
    let key = |tree: &mut Vec<u8>, stored: usize, first: u64| {
        tree.extend((stored as u32).to_le_bytes());
        tree.extend(0_u32.to_le_bytes());
        tree.extend(first.to_le_bytes());
        (0..shape.len()).for_each(|_| tree.extend(0_u64.to_le_bytes()));
    };
    for part in raw.chunks(whole) {
        let mut bytes = part.to_vec();
        bytes.resize(whole, 0);
        let stored = deflate(&shuffle(&bytes, size as usize));
        let at = put(out, &stored);
        key(&mut tree, stored.len(), u64::from(count) * rows);
        tree.extend(at.to_le_bytes());
        count += 1;
    }
    key(&mut tree, 0, u64::from(count) * rows);
    let mut node = b"TREE\x01\0".to_vec();
    node.extend(count.to_le_bytes());
    node.extend(UNDEFINED.to_le_bytes());
    node.extend(UNDEFINED.to_le_bytes());
    node.extend(tree);
    put(out, &node)
}

/// The first byte of every element, then the second of every one, and so on.
fn shuffle(bytes: &[u8], size: usize) -> Vec<u8> {
    (0..size).flat_map(|byte| bytes.iter().skip(byte).step_by(size).copied()).collect()
}

/// A zlib stream of stored blocks.
fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![0x78, 0x01];
    let blocks: Vec<&[u8]> = bytes.chunks(65535).collect();
    for (index, block) in blocks.iter().enumerate() {
        out.push(u8::from(index + 1 == blocks.len()));
        let length = block.len() as u16;
        out.extend(length.to_le_bytes());
        out.extend((!length).to_le_bytes());
        out.extend(*block);
    }
    let (mut a, mut b) = (1_u32, 0_u32);
    for byte in bytes {
        a = (a + u32::from(*byte)) % 65521;
        b = (b + a) % 65521;
    }
    out.extend(((b << 16) | a).to_be_bytes());
    out
}

/// Episodes as a D4RL file: floats as f64 in chunks of 100 rows, flags as
/// bools.
pub fn d4rl(episodes: &super::Episodes) -> Vec<(String, Node)> {
    let n = episodes.len() as u64;
    let wide = |values: &[f32]| Numbers::F64(values.iter().map(|&v| f64::from(v)).collect());
    let table = |values: &[f32], dim: usize| Node::chunked(&[n, dim as u64], wide(values), 100);
    named([
        ("observations", table(&episodes.observations, episodes.observation_dim)),
        ("actions", table(&episodes.actions, episodes.action_dim)),
        ("rewards", Node::array(&[n], Numbers::F32(episodes.rewards.clone()))),
        ("terminals", Node::chunked(&[n], Numbers::Bools(episodes.terminals.clone()), 64)),
        ("timeouts", Node::array(&[n], Numbers::Bools(episodes.timeouts.clone()))),
        (
            "infos",
            Node::Group(named([("goal", Node::array(&[n, 2], wide(&vec![0.0; 2 * n as usize])))])),
        ),
    ])
}
