//! The log: who did what, row after row. Some shoppers are in the shop at once; each stays for a while, so
//! that the rows of one visit stand near each other, mixed with those of the others.

use std::io::{self, Write};

use super::random::Random;
use super::shop::{ITEMS, Item, SHOPPERS, Shopper};

/// Rows of the file, the header not counted.
const ROWS: u64 = 20_000;
const SEED: u64 = 20_151_111;
/// How many shoppers are in the shop at any time.
const VISITORS: u64 = 12;
/// The longest visit, in rows; most are far shorter.
const LONGEST_VISIT: u64 = 24;
/// One row in this many lost its gender on the way: 0.3 %.
const GENDER_LOST_ONE_IN: u64 = 320;

const HEADER: &str = "user_id,item_id,cat_id,merchant_id,brand_id,month,day,action,age_range,gender,province";

/// The days of the log with their share of all rows in percent. November 11th is the day of the great sale.
const DAYS: [((u8, u8), u64); 21] = [
    ((10, 28), 2),
    ((10, 29), 2),
    ((10, 30), 2),
    ((10, 31), 2),
    ((11, 1), 4),
    ((11, 2), 2),
    ((11, 3), 2),
    ((11, 4), 2),
    ((11, 5), 2),
    ((11, 6), 3),
    ((11, 7), 3),
    ((11, 8), 3),
    ((11, 9), 4),
    ((11, 10), 7),
    ((11, 11), 40),
    ((11, 12), 8),
    ((11, 13), 4),
    ((11, 14), 3),
    ((11, 15), 2),
    ((11, 16), 2),
    ((11, 17), 1),
];

/// The codes of `action` with their share in percent: click, to the cart, buy, favourite.
const USUAL_ACTIONS: [(u8, u64); 4] = [(0, 89), (1, 3), (2, 4), (3, 4)];
const SALE_ACTIONS: [(u8, u64); 4] = [(0, 83), (1, 2), (2, 12), (3, 3)];

struct Visit {
    shopper: Shopper,
    item: Item,
    rows_left: u64,
}

impl Visit {
    fn begin(random: &mut Random) -> Self {
        Self {
            shopper: Shopper::numbered(random.below(SHOPPERS)),
            item: Item::numbered(random.skewed_below(ITEMS)),
            rows_left: 1 + random.skewed_below(LONGEST_VISIT),
        }
    }
}

/// Writes the whole file: header and rows, lines ending in `\n`.
pub(crate) fn write(out: &mut impl Write) -> io::Result<()> {
    let mut random = Random::new(SEED);
    let mut visits: Vec<Visit> = (0..VISITORS).map(|_| Visit::begin(&mut random)).collect();
    let mut at = 0;
    writeln!(out, "{HEADER}")?;
    for row in 0..ROWS {
        // Who has just clicked is likely to click again before another does.
        if random.one_in(2) {
            at = random.below(VISITORS) as usize;
        }
        let visit = &mut visits[at];
        if visit.rows_left == 0 {
            *visit = Visit::begin(&mut random);
        }
        visit.rows_left -= 1;
        if random.one_in(2) {
            visit.item = Item::numbered(random.skewed_below(ITEMS));
        }
        write_row(out, row, visit, &mut random)?;
    }
    Ok(())
}

fn write_row(out: &mut impl Write, row: u64, visit: &Visit, random: &mut Random) -> io::Result<()> {
    let (month, day) = date(row);
    let action = random.pick(if (month, day) == (11, 11) { &SALE_ACTIONS } else { &USUAL_ACTIONS });
    let Item { id: item, category, merchant, brand } = visit.item;
    let Shopper { id, age_range, gender, province } = visit.shopper;
    write!(out, "{id},{item},{category},{merchant},{brand},{month:02},{day:02},{action},{age_range},")?;
    if !random.one_in(GENDER_LOST_ONE_IN) {
        write!(out, "{gender}")?;
    }
    writeln!(out, ",{province}")
}

/// The date of a row: the log is in the order of time, and each day has its share of the rows.
fn date(row: u64) -> (u8, u8) {
    let mut percent = row * 100 / ROWS;
    for (date, share) in DAYS {
        if percent < share {
            return date;
        }
        percent -= share;
    }
    unreachable!("the shares of the days add up to 100")
}
