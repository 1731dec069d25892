//! Where the separators stand in a stretch of bytes.
//!
//! A stretch is scanned 64 bytes at a time: each of the three characters that give CSV its structure becomes
//! a mask of 64 bits, and the positions of the bits are written out. What the file says follows from
//! comparing positions, so that no cell is looked at but those that are wanted. Quotes, and what else is odd
//! in a dialect, are only noted: a record that has one is read by [`record`](super::record).

use wide::u8x16;

use super::record::Syntax;

/// Positions in a stretch, rising.
#[derive(Debug, Default)]
struct Positions {
    slots: Vec<u32>,
    len: usize,
}

impl Positions {
    /// Makes room for `bytes` positions, one block more for whole-block writes, and `padding`.
    fn reset(&mut self, bytes: usize, padding: usize) {
        let room = bytes + 64 + padding;
        if self.slots.len() < room {
            self.slots.resize(room, 0);
        }
        self.len = 0;
    }

    /// Closes the list with `padding` times the greatest number.
    fn close(&mut self, padding: usize) {
        let end = self.len + padding;
        if let Some(slots) = self.slots.get_mut(self.len..end) {
            slots.fill(u32::MAX);
        }
    }

    fn writer(&mut self) -> Writer<'_> {
        Writer { len: self.len, slots: &mut self.slots }
    }

    #[inline]
    fn get(&self, index: usize) -> u32 {
        self.slots.get(index).copied().unwrap_or(u32::MAX)
    }

    fn before(&self, position: usize, from: usize) -> usize {
        let rest = self.slots.get(from..self.len).unwrap_or_default();
        from + rest.iter().take_while(|p| (**p as usize) < position).count()
    }
}

/// Adds positions; a local of the loop, so that its fields stay in registers.
struct Writer<'a> {
    slots: &'a mut [u32],
    len: usize,
}

impl Writer<'_> {
    /// Adds the positions of the bits of `mask`, counted from `base`.
    #[inline]
    fn add(&mut self, base: u32, mut mask: u64) {
        let count = mask.count_ones() as usize;
        let Some(slots) = self.slots.get_mut(self.len..).and_then(|s| s.first_chunk_mut::<64>()) else {
            return;
        };
        // Four at a time, past the last bit too: what is written there is overwritten or lies beyond `len`.
        let mut written = 0;
        while written < count {
            for ahead in 0..4 {
                // The last bit keeps the compiler from asking whether there is any.
                slots[(written + ahead) & 63] = base.wrapping_add((mask | 1 << 63).trailing_zeros());
                mask &= mask.wrapping_sub(1);
            }
            written += 4;
        }
        self.len += count;
    }
}

/// The separators of one stretch.
#[derive(Debug, Default)]
pub(super) struct Marks {
    delimiters: Positions,
    newlines: Positions,
    quotes: Positions,
}

impl Marks {
    /// Scans `bytes`, fewer than 4 GiB, for what has a meaning in `syntax`. Each list ends with `padding`
    /// times [`u32::MAX`], so that a look ahead by as many needs no check.
    pub(super) fn scan(&mut self, bytes: &[u8], syntax: &Syntax, padding: usize) {
        for positions in [&mut self.delimiters, &mut self.newlines, &mut self.quotes] {
            positions.reset(bytes.len(), padding);
        }
        let wanted = [syntax.delimiter, b'\n'].map(u8x16::splat);
        let odd = syntax.odd().map(u8x16::splat);
        let blocks_in = |marks: &mut Self, base: u32, blocks: &[[u8; 64]]| match (syntax.is_plain(), odd) {
            (true, [quote, ..]) => marks.blocks(base, blocks, wanted, [quote]),
            (false, odd) => marks.blocks(base, blocks, wanted, odd),
        };
        let (blocks, rest) = bytes.as_chunks::<64>();
        blocks_in(self, 0, blocks);
        if !rest.is_empty() {
            // Any byte that has no meaning.
            let filler = (0..=u8::MAX)
                .find(|byte| *byte != syntax.delimiter && *byte != b'\n' && !syntax.odd().contains(byte));
            let filler = filler.unwrap_or_default();
            let mut block = [filler; 64];
            for (to, from) in block.iter_mut().zip(rest) {
                *to = *from;
            }
            blocks_in(self, (blocks.len() * 64) as u32, &[block]);
        }
        for positions in [&mut self.delimiters, &mut self.newlines, &mut self.quotes] {
            positions.close(padding);
        }
    }

    /// Adds the separators of `blocks`, the first of which stands at `base`.
    fn blocks<const ODD: usize>(
        &mut self,
        base: u32,
        blocks: &[[u8; 64]],
        [delimiter, newline]: [u8x16; 2],
        odd: [u8x16; ODD],
    ) {
        let mut delimiters = self.delimiters.writer();
        let mut newlines = self.newlines.writer();
        let mut quotes = self.quotes.writer();
        let mut base = base;
        for block in blocks {
            let (mut delimiter_mask, mut newline_mask, mut quote_mask) = (0u64, 0u64, 0u64);
            let (parts, _) = block.as_chunks::<16>();
            for (number, part) in parts.iter().enumerate() {
                let part = u8x16::new(*part);
                let shift = 16 * number;
                delimiter_mask |= u64::from(part.simd_eq(delimiter).to_bitmask()) << shift;
                newline_mask |= u64::from(part.simd_eq(newline).to_bitmask()) << shift;
                for odd in odd {
                    quote_mask |= u64::from(part.simd_eq(odd).to_bitmask()) << shift;
                }
            }
            delimiters.add(base, delimiter_mask);
            newlines.add(base, newline_mask);
            if quote_mask != 0 {
                quotes.add(base, quote_mask);
            }
            base += 64;
        }
        let lens = [delimiters.len, newlines.len, quotes.len];
        [self.delimiters.len, self.newlines.len, self.quotes.len] = lens;
    }

    /// Newline number `index`; [`u32::MAX`] behind the last.
    #[inline]
    pub(super) fn newline(&self, index: usize) -> u32 {
        self.newlines.get(index)
    }

    /// Quote number `index`; [`u32::MAX`] behind the last.
    #[inline]
    pub(super) fn quote(&self, index: usize) -> u32 {
        self.quotes.get(index)
    }

    /// The `count` delimiters from number `index` on, `count` at most the padding; behind the last stands
    /// [`u32::MAX`].
    #[inline]
    pub(super) fn delimiters_from(&self, index: usize, count: usize) -> &[u32] {
        self.delimiters.slots.get(index..index + count).unwrap_or_default()
    }

    /// The number of the first delimiter at or behind `position`, looking from number `from` on.
    pub(super) fn delimiters_before(&self, position: usize, from: usize) -> usize {
        self.delimiters.before(position, from)
    }

    /// The number of the first newline at or behind `position`, looking from number `from` on.
    pub(super) fn newlines_before(&self, position: usize, from: usize) -> usize {
        self.newlines.before(position, from)
    }

    /// The number of the first quote at or behind `position`, looking from number `from` on.
    pub(super) fn quotes_before(&self, position: usize, from: usize) -> usize {
        self.quotes.before(position, from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn naive(bytes: &[u8], wanted: u8, padding: usize) -> Vec<u32> {
        let found = bytes.iter().enumerate().filter(|(_, b)| **b == wanted).map(|(i, _)| i as u32);
        found.chain(std::iter::repeat_n(u32::MAX, padding)).collect()
    }

    proptest! {
        #[test]
        fn the_masks_find_what_a_loop_finds(
            stretches in prop::collection::vec(prop::collection::vec(prop::sample::select(b"a,;\n\"\0".to_vec()), 0..300), 1..4),
            delimiter in prop::sample::select(b",;\0".to_vec()),
            padding in 1usize..70,
        ) {
            let mut marks = Marks::default();
            for bytes in &stretches {
                marks.scan(bytes, &Syntax { delimiter, ..Syntax::default() }, padding);
                for (positions, wanted) in [(&marks.delimiters, delimiter), (&marks.newlines, b'\n'), (&marks.quotes, b'"')] {
                    let expected = naive(bytes, wanted, padding);
                    prop_assert_eq!(&positions.slots[..expected.len()], expected);
                }
                let odd = Syntax { delimiter, quote: None, escape: Some(b'a'), comment: Some(b'"'), trim: true };
                marks.scan(bytes, &odd, padding);
                let expected: Vec<u32> =
                    (0..).zip(bytes).filter(|(_, b)| b"a\"\n".contains(b)).map(|(at, _)| at).collect();
                prop_assert_eq!(&marks.quotes.slots[..marks.quotes.len], expected);
            }
        }
    }
}
