//! What people click and buy: publishers with their links, stores with their products. The only
//! dates here are those between which a link is valid.

use std::collections::BTreeSet;

use rand::Rng;
use rand_pcg::Pcg64Mcg;

use super::Scale;
use super::calendar::{Calendar, Span, utc_midnight};
use super::dice::{choose, dice, one_in, skewed};
use super::people::People;

pub const CATEGORIES: [&str; 20] = [
    "audio",
    "baby",
    "bags",
    "beauty",
    "bikes",
    "cameras",
    "computers",
    "fishing",
    "furniture",
    "garden",
    "jewelry",
    "kitchen",
    "lighting",
    "office",
    "pets",
    "phones",
    "shoes",
    "tools",
    "toys",
    "watches",
];
/// The first stores, which are members at some time. The others never are.
pub const PROGRAM_STORES: u32 = 40;
const PUBLISHERS: usize = TRADES.len() * MASCOTS.len();
const STORES: u32 = 44;
const PRODUCTS: u32 = 900;
const LINKS: u32 = 400;
const TRADES: [&str; 12] = [
    "deal", "coupon", "bargain", "thrift", "saver", "promo", "voucher", "cashback", "penny",
    "gadget", "parcel", "basket",
];
const MASCOTS: [&str; 5] = ["otter", "harbor", "lantern", "meadow", "fox"];
const CHANNELS: [&str; 3] = ["blog", "mail", "social"];
const BASE62: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

pub struct Catalog {
    pub people: People,
    pub links: Vec<Link>,
    pub stores: Vec<Store>,
    pub products: Vec<Product>,
}

pub struct Link {
    pub key: String,
    /// The product that the link promotes. None for a campaign page.
    pub product: Option<u16>,
    /// Owners one after the other, mostly one.
    pub owners: Vec<Owner>,
}

pub struct Owner {
    pub publisher_id: String,
    pub tracking_id: String,
    pub valid: Span,
}

pub struct Store {
    pub id: String,
    pub products: Vec<u16>,
}

pub struct Product {
    pub id: String,
    pub store: u16,
    pub category: &'static str,
    pub us_cents: i64,
}

impl Catalog {
    pub fn new(scale: &Scale, calendar: &Calendar) -> Self {
        let mut rng = dice(scale.seed, 1);
        let products = products(&mut rng);
        let stores = stores(&mut rng, &products);
        let links = links(&mut rng, calendar);
        Catalog { people: People::new(scale.clicks_per_day), links, stores, products }
    }

    pub fn store_of(&self, product: u16) -> &Store {
        &self.stores[usize::from(self.products[usize::from(product)].store)]
    }

    pub fn popular_product(&self, rng: &mut Pcg64Mcg) -> u16 {
        skewed(rng, PRODUCTS, 6) as u16
    }

    /// A link that is valid at `at`, or sometimes one that is no longer or not yet valid.
    pub fn popular_link(&self, rng: &mut Pcg64Mcg, at: i64) -> u16 {
        loop {
            let link = skewed(rng, LINKS, 5);
            let works =
                self.links[link as usize].owners.iter().any(|owner| owner.valid.contains(at));
            if works || one_in(rng, 1, 20) {
                return link as u16;
            }
        }
    }
}

fn products(rng: &mut Pcg64Mcg) -> Vec<Product> {
    let mut ids = BTreeSet::new();
    let mut products = Vec::new();
    while products.len() < PRODUCTS as usize {
        let id = 1_005_006_000_000_000 + rng.random_range(0..1_000_000_000_000_u64);
        if !ids.insert(id) {
            continue;
        }
        let nth = products.len() as u32;
        let store = if nth < STORES { nth * 9 % STORES } else { skewed(rng, STORES, 3) };
        // A store sells in three categories.
        let category = (store * 7 + skewed(rng, 3, 1)) as usize % CATEGORIES.len();
        products.push(Product {
            id: id.to_string(),
            store: store as u16,
            category: CATEGORIES[category],
            us_cents: 199 + i64::from(skewed(rng, 40_000, 8)),
        });
    }
    products
}

fn stores(rng: &mut Pcg64Mcg, products: &[Product]) -> Vec<Store> {
    let mut stores: Vec<Store> = (0..STORES)
        .map(|nth| Store {
            id: (1_101_000_000 + nth * 100_003 + rng.random_range(0..100_000)).to_string(),
            products: Vec::new(),
        })
        .collect();
    for (nth, product) in products.iter().enumerate() {
        stores[usize::from(product.store)].products.push(nth as u16);
    }
    stores
}

/// Every trade with every mascot. Neighbours share neither.
fn publishers() -> Vec<String> {
    let trades = TRADES.iter().cycle().zip(MASCOTS.iter().cycle());
    trades.take(PUBLISHERS).map(|(trade, mascot)| format!("{trade}-{mascot}")).collect()
}

fn links(rng: &mut Pcg64Mcg, calendar: &Calendar) -> Vec<Link> {
    let publishers = publishers();
    let mut keys = BTreeSet::new();
    while keys.len() < LINKS as usize {
        keys.insert(key(rng));
    }

    keys.into_iter()
        .enumerate()
        .map(|(nth, key)| {
            // Every publisher has a link, some have dozens.
            let rank =
                if nth < PUBLISHERS { nth } else { skewed(rng, PUBLISHERS as u32, 3) as usize };
            let first = &publishers[rank];
            let change = utc_midnight(calendar.part(20 + nth as u32 / 6));
            let owners = match nth % 40 {
                7 => vec![owner(rng, first, Span::until(change))],
                19 => vec![owner(rng, first, Span::since(change))],
                33 => {
                    let second = choose(rng, &publishers);
                    vec![
                        owner(rng, first, Span::until(change)),
                        owner(rng, second, Span::since(change)),
                    ]
                }
                0..24 => {
                    let made_on = calendar.before(rng.random_range(30..500));
                    vec![owner(rng, first, Span::since(utc_midnight(made_on)))]
                }
                _ => vec![owner(rng, first, Span::default())],
            };
            let product = one_in(rng, 4, 5).then(|| skewed(rng, PRODUCTS, 4) as u16);
            Link { key, product, owners }
        })
        .collect()
}

fn owner(rng: &mut Pcg64Mcg, publisher: &str, valid: Span) -> Owner {
    let channel = choose(rng, &CHANNELS);
    Owner {
        publisher_id: publisher.to_string(),
        tracking_id: format!("{publisher}-{channel}"),
        valid,
    }
}

/// A link key like `_DkV3x9Q`. No key begins with `_z`, which is for unknown links.
fn key(rng: &mut Pcg64Mcg) -> String {
    let mut key = String::from("_D");
    for _ in 0..6 {
        key.push(char::from(BASE62[rng.random_range(0..62_u32) as usize]));
    }
    key
}
