//! Window arithmetic and watermarks: pure functions of numbers, without a runtime.

mod passing;
mod speaker;
mod watermark;

pub(crate) use passing::Passing;
pub use speaker::Speaker;
pub(crate) use speaker::Word;
pub(crate) use watermark::Ahead;
pub use watermark::{NextMove, Watermark};

use crate::clock::Millis;

/// Where windows begin and end: every `slide` milliseconds, shifted by `offset`, one of `size` begins; its
/// end is exclusive.
///
/// Laws, for every time `t`:
/// ```
/// use pipectl_framework::time::WindowGrid;
/// let grid = WindowGrid::new(10, 4, 1).unwrap();
/// for t in -100..100 {
///     let last = grid.last_start(t);
///     assert!(last <= t && t < last + grid.slide());          // the last window that begins at or before t
///     assert_eq!((last - 1).rem_euclid(4), 0);                // on the grid
///     assert!(grid.pane(t) <= t && t < grid.pane(t) + grid.pane_length());
///     // every window is whole panes
///     assert_eq!((last - grid.pane(last), grid.size() % grid.pane_length()), (0, 0));
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowGrid {
    size: Millis,
    slide: Millis,
    offset: Millis,
    pane: Millis,
}

impl WindowGrid {
    /// A grid, or `None` unless `0 < slide <= size`.
    pub fn new(size: Millis, slide: Millis, offset: Millis) -> Option<Self> {
        (0 < slide && slide <= size).then(|| {
            let pane = gcd(size, slide);
            Self { size, slide, offset: offset.rem_euclid(slide), pane }
        })
    }

    /// The length of a window.
    pub fn size(&self) -> Millis {
        self.size
    }

    /// The time from one window's beginning to the next one's.
    pub fn slide(&self) -> Millis {
        self.slide
    }

    /// How far the windows' beginnings lie behind whole multiples of the slide since 1970, below the slide.
    pub fn offset(&self) -> Millis {
        self.offset
    }

    /// The length of a pane: the greatest that divides both size and slide, so that a row belongs to one pane
    /// and a window is whole panes (Li et al., "No pane, no gain", 2005).
    pub fn pane_length(&self) -> Millis {
        self.pane
    }

    /// The beginning of the last window that has `t` in it.
    pub fn last_start(&self, t: Millis) -> Millis {
        t.saturating_sub(t.saturating_sub(self.offset).rem_euclid(self.slide))
    }

    /// The end of the last window that has `t` in it: a row of time `t` is of use until then.
    pub fn last_end(&self, t: Millis) -> Millis {
        self.last_start(t).saturating_add(self.size)
    }

    /// The beginning of the pane that has `t` in it.
    pub fn pane(&self, t: Millis) -> Millis {
        t.saturating_sub(t.saturating_sub(self.offset).rem_euclid(self.pane))
    }

    /// The earliest end of a window that is after `t`.
    ///
    /// ```
    /// use pipectl_framework::time::WindowGrid;
    /// let grid = WindowGrid::new(10, 4, 0).unwrap();
    /// assert_eq!((grid.end_after(13), grid.end_after(14)), (14, 18)); // windows end at ..., 10, 14, 18, ...
    /// ```
    pub fn end_after(&self, t: Millis) -> Millis {
        let shifted = t.saturating_sub(self.size);
        self.last_start(shifted).saturating_add(self.slide).saturating_add(self.size)
    }

    /// The end of the first window that has `t` in it.
    pub fn first_end(&self, t: Millis) -> Millis {
        self.end_after(t)
    }
}

fn gcd(a: Millis, b: Millis) -> Millis {
    if b == 0 { a } else { gcd(b, a % b) }
}
