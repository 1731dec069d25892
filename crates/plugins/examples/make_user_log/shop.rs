//! Who buys and what is sold: shoppers and items, each made from its number alone, so that both look the same
//! wherever they turn up in the log.

use super::random::Random;

/// How many shoppers there are, and how many items. Most turn up only a few times.
pub(crate) const SHOPPERS: u64 = 3_000;
pub(crate) const ITEMS: u64 = 4_000;
const MERCHANTS: u64 = 700;

/// One under which somebody lives in each of the 34 provinces, the smallest too.
const SHOPPER_SEED: u64 = 1119 << 32;
const ITEM_SEED: u64 = 1111 << 32;

/// The codes of `age_range` with their share in percent; 0 is unknown.
const AGE_RANGES: [(u8, u64); 9] =
    [(0, 10), (1, 3), (2, 25), (3, 23), (4, 17), (5, 10), (6, 9), (7, 2), (8, 1)];

/// The codes of `gender` with their share in percent: women, men, unknown.
const GENDERS: [(u8, u64); 3] = [(0, 49), (1, 35), (2, 16)];

/// Where shoppers live, weighted by inhabitants: ten thousands, rounded, from the census of 2020.
const PROVINCES: [(&str, u64); 34] = [
    ("广东", 12601),
    ("山东", 10153),
    ("河南", 9937),
    ("江苏", 8475),
    ("四川", 8367),
    ("河北", 7461),
    ("湖南", 6644),
    ("浙江", 6457),
    ("安徽", 6103),
    ("湖北", 5775),
    ("广西", 5013),
    ("云南", 4721),
    ("江西", 4519),
    ("辽宁", 4259),
    ("福建", 4154),
    ("陕西", 3953),
    ("贵州", 3856),
    ("山西", 3492),
    ("重庆市", 3205),
    ("黑龙江", 3185),
    ("新疆", 2585),
    ("甘肃", 2502),
    ("上海市", 2487),
    ("吉林", 2407),
    ("内蒙古", 2405),
    ("台湾", 2356),
    ("北京市", 2189),
    ("天津市", 1387),
    ("海南", 1008),
    ("香港", 747),
    ("宁夏", 720),
    ("青海", 592),
    ("西藏", 365),
    ("澳门", 68),
];

#[derive(Clone, Copy)]
pub(crate) struct Shopper {
    pub(crate) id: u64,
    pub(crate) age_range: u8,
    pub(crate) gender: u8,
    pub(crate) province: &'static str,
}

impl Shopper {
    pub(crate) fn numbered(number: u64) -> Self {
        let mut random = Random::new(number ^ SHOPPER_SEED);
        Self {
            id: spread(number, 424_170),
            age_range: random.pick(&AGE_RANGES),
            gender: random.pick(&GENDERS),
            province: random.pick(&PROVINCES),
        }
    }
}

/// An item belongs to a category and is sold by one merchant, who mostly sells one brand.
#[derive(Clone, Copy)]
pub(crate) struct Item {
    pub(crate) id: u64,
    pub(crate) category: u64,
    pub(crate) merchant: u64,
    pub(crate) brand: u64,
}

impl Item {
    pub(crate) fn numbered(number: u64) -> Self {
        let mut random = Random::new(number ^ ITEM_SEED);
        let merchant = random.skewed_below(MERCHANTS);
        let brand = if random.one_in(8) { merchant + MERCHANTS } else { merchant };
        Self {
            id: spread(number, 1_113_166),
            category: spread(random.skewed_below(350), 1_671),
            merchant: spread(merchant, 4_995),
            brand: spread(brand, 8_477),
        }
    }
}

/// A number that looks like an id, from 1 to `range`: different for different `number` below `range`, because
/// the factor is a prime that divides none of the ranges above.
fn spread(number: u64, range: u64) -> u64 {
    (number + 1) * 104_729 % range + 1
}
