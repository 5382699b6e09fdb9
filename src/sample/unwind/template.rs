//! A small sound ELF file around call-frame information that is not. Invariant: whatever is put in, headers and
//! sections are in order, so that the readers behind them are reached.

/// Where the file puts its code, its search table and its descriptions; offsets are the same as addresses.
pub const TEXT: u64 = 0x1000;
pub const TEXT_SIZE: u64 = 0x5000;
pub const HEADER: u64 = 0x6000;
/// Room of the search table.
const HEADER_ROOM: usize = 0x1000;
pub const FRAMES: u64 = HEADER + HEADER_ROOM as u64;

/// An executable with these contents of `.eh_frame_hdr` and `.eh_frame`.
pub fn executable(header: &[u8], frames: &[u8]) -> Vec<u8> {
    go_executable(header, frames, &[], &[])
}

/// One that has this code from [`TEXT`] on, too, and this content of `.gopclntab`.
pub fn go_executable(header: &[u8], frames: &[u8], code: &[u8], go: &[u8]) -> Vec<u8> {
    let header = &header[..header.len().min(HEADER_ROOM)];
    let names = b"\0.text\0.eh_frame_hdr\0.eh_frame\0.shstrtab\0.gopclntab\0";
    let go_at = (FRAMES as usize + frames.len()).next_multiple_of(8);
    let end_of_frames = go_at + go.len();
    let sections_at = (end_of_frames + names.len()).next_multiple_of(8);
    let mut file = vec![0; sections_at];
    file[..16].copy_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    let mut head = Vec::new();
    head.extend([3_u16, 62].iter().flat_map(|half| half.to_le_bytes()));
    head.extend(1_u32.to_le_bytes());
    head.extend([TEXT, 64, sections_at as u64].iter().flat_map(|word| word.to_le_bytes()));
    head.extend(0_u32.to_le_bytes());
    head.extend([64_u16, 56, 1, 64, 6, 4].iter().flat_map(|half| half.to_le_bytes()));
    // One segment: all of it, readable and executable.
    head.extend([1_u32, 5].iter().flat_map(|word| word.to_le_bytes()));
    let size = end_of_frames as u64;
    head.extend([0_u64, 0, 0, size, size, 0x1000].iter().flat_map(|word| word.to_le_bytes()));
    file[16..16 + head.len()].copy_from_slice(&head);
    file[HEADER as usize..][..header.len()].copy_from_slice(header);
    file[FRAMES as usize..][..frames.len()].copy_from_slice(frames);
    let code = &code[..code.len().min(TEXT_SIZE as usize)];
    file[TEXT as usize..][..code.len()].copy_from_slice(code);
    file[go_at..][..go.len()].copy_from_slice(go);
    file[end_of_frames..][..names.len()].copy_from_slice(names);
    let mut section = |name: u32, kind: u32, flags: u64, at: u64, size: u64| {
        let address = if flags == 0 { 0 } else { at };
        file.extend([name, kind].iter().flat_map(|word| word.to_le_bytes()));
        file.extend([flags, address, at, size, 0, 1, 0].iter().flat_map(|word| word.to_le_bytes()));
    };
    section(0, 0, 0, 0, 0);
    section(1, 1, 6, TEXT, TEXT_SIZE);
    section(7, 1, 2, HEADER, header.len() as u64);
    section(21, 1, 2, FRAMES, frames.len() as u64);
    section(31, 3, 0, end_of_frames as u64, names.len() as u64);
    section(41, 1, 2, go_at as u64, go.len() as u64);
    file
}

/// A function of Go's table: its start relative to [`TEXT`], flags, name, and the steps of its stack pointer, each a
/// change in bytes and for how many bytes of code it holds.
pub struct GoDescribed<'a> {
    pub start: u32,
    pub flags: u8,
    pub name: &'a str,
    pub depths: &'a [(i32, u32)],
}

/// A table of Go 1.20 or later with these functions, which end at `end`.
pub fn go_table(functions: &[GoDescribed], end: u32) -> Vec<u8> {
    let list = 8 + functions.len() * 8;
    let (mut descriptions, mut names, mut programs) = (Vec::new(), vec![0], vec![0]);
    let mut listed: Vec<u8> = Vec::new();
    for function in functions {
        listed.extend(function.start.to_le_bytes());
        listed.extend(((list + descriptions.len()) as u32).to_le_bytes());
        let mut description = [0_u8; 44];
        description[4..8].copy_from_slice(&(names.len() as u32).to_le_bytes());
        description[16..20].copy_from_slice(&(programs.len() as u32).to_le_bytes());
        description[41] = function.flags;
        descriptions.extend(description);
        names.extend(function.name.bytes().chain([0]));
        // The first change is from -1.
        let mut before = -1;
        for (depth, length) in function.depths {
            let change = depth - before;
            before = *depth;
            varint(&mut programs, ((change << 1) ^ (change >> 31)) as u32);
            varint(&mut programs, *length);
        }
        programs.push(0);
    }
    listed.extend(end.to_le_bytes());
    listed.extend([0; 4]);
    let (names_at, programs_at) = (72, 72 + names.len());
    let functions_at = (programs_at + programs.len()).next_multiple_of(8);
    let mut bytes = 0xffff_fff1_u32.to_le_bytes().to_vec();
    bytes.extend([0, 0, 1, 8]);
    let words = [functions.len(), 0, TEXT as usize, names_at, 0, 0, programs_at, functions_at];
    words.iter().for_each(|word| bytes.extend((*word as u64).to_le_bytes()));
    bytes.extend([names, programs].concat());
    bytes.resize(functions_at, 0);
    bytes.extend([listed, descriptions].concat());
    bytes
}

fn varint(bytes: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// Call-frame information under construction, and the search table that a linker would make of it.
#[derive(Default)]
pub struct Frames {
    pub bytes: Vec<u8>,
    /// Start of each function, relative to the search table, and place of its description, likewise.
    pub listed: Vec<(u32, u32)>,
    common: usize,
}

impl Frames {
    /// A common part: alignment factors of code and data, and instructions after the usual first ones.
    pub fn common(&mut self, signal: bool, (code, data): (u8, u8), program: &[u8]) {
        self.common = self.bytes.len();
        let mut body = vec![0, 0, 0, 0, 1];
        body.extend(if signal { &b"zRS\0"[..] } else { b"zR\0" });
        body.extend([code, data, 16, 1, 0x1b]);
        // CFA = rsp + 8, the return address at CFA - 8: what all functions begin with.
        body.extend([0x0c, 7, 8, 0x90, 1]);
        body.extend(program);
        self.entry(&body);
    }

    /// A function of the last common part.
    pub fn function(&mut self, start: u64, size: u32, program: &[u8]) {
        let at = self.bytes.len();
        let mut body = ((at + 4 - self.common) as u32).to_le_bytes().to_vec();
        let locate = FRAMES + at as u64 + 8;
        body.extend((start.wrapping_sub(locate) as u32).to_le_bytes());
        body.extend(size.to_le_bytes());
        body.push(0);
        body.extend(program);
        self.entry(&body);
        self.listed.push((start.wrapping_sub(HEADER) as u32, (FRAMES + at as u64 - HEADER) as u32));
    }

    fn entry(&mut self, body: &[u8]) {
        let length = body.len().next_multiple_of(4);
        self.bytes.extend((length as u32).to_le_bytes());
        self.bytes.extend(body);
        self.bytes.resize(self.bytes.len() + length - body.len(), 0);
    }

    /// The search table of what is listed, in the order of the list.
    pub fn header(&self) -> Vec<u8> {
        let mut bytes = vec![1, 0x1b, 0x03, 0x3b];
        bytes.extend(((FRAMES - HEADER - 4) as u32).to_le_bytes());
        bytes.extend((self.listed.len() as u32).to_le_bytes());
        self.listed.iter().for_each(|(start, at)| bytes.extend([start.to_le_bytes(), at.to_le_bytes()].concat()));
        bytes
    }
}
