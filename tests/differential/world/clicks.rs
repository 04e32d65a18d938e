//! Makes up clicks.

use chrono::TimeDelta;

use super::maker::{
    BUYERS, COUNTRIES, DEVICES, KEYS, Maker, PRODUCTS, QUIET, STORES, STRANGE_KEYS, VISITORS,
};
use super::rows::{Identity, RawClick};

impl Maker {
    pub fn clicks(&mut self, identities: &[Identity]) -> Vec<RawClick> {
        let mut clicks: Vec<RawClick> = Vec::new();
        for _ in 0..self.dice.between(20, 150) {
            let mut click = RawClick {
                click_id: Some(self.fresh_id(&["c", "C", "ć,", "c\"/"])),
                clicked_at: Some(self.instant()),
                url: Some(self.url()),
                buyer_id: self.buyer(),
                visitor_id: self.visitor(25),
                store_id: self.dice.text_or_null(&STORES, 15),
                product_id: self.dice.text_or_null(&PRODUCTS, 30),
                country: self.dice.text_or_null(&COUNTRIES, 20),
                device: self.dice.text_or_null(&DEVICES, 20),
            };
            // The same buyer again: at the same instant, or just outside its window.
            if let Some(earlier) = clicks.last()
                && self.dice.chance(12)
            {
                click.buyer_id = earlier.buyer_id.clone();
                click.visitor_id = earlier.visitor_id.clone();
                click.clicked_at = earlier.clicked_at.map(|at| at + self.jitter());
            } else if let Some(earlier) = clicks.last()
                && earlier.buyer_id.is_none()
                && self.dice.chance(30)
            {
                // The same visitor logs in, at once or later.
                click.visitor_id = earlier.visitor_id.clone();
                click.buyer_id = Some(self.dice.text(&BUYERS));
                click.clicked_at = earlier.clicked_at.map(|at| at + self.within_window());
            }
            // Nobody's own click, just before or just after its visitor changes hands.
            if !identities.is_empty() && self.dice.chance(8) {
                let identity = self.dice.pick(identities);
                if let Some(end) = identity.valid_to.filter(|end| self.is_in_the_days(*end)) {
                    click.buyer_id = None;
                    click.visitor_id = Some(identity.visitor_id.clone());
                    click.clicked_at = Some(end + self.jitter());
                }
            }
            clicks.push(click);
        }
        for _ in 0..self.dice.between(1, 4) {
            self.quiet_visitor(&mut clicks);
        }
        clicks
    }

    /// A visitor who logs in once, and clicks once more without doing so. Sometimes somebody else logs
    /// in at the same instant.
    fn quiet_visitor(&mut self, clicks: &mut Vec<RawClick>) {
        let mut login = self.dice.pick(clicks).clone();
        login.click_id = Some(self.fresh_id(&["c"]));
        login.buyer_id = Some(self.dice.text(&BUYERS));
        login.visitor_id = Some(self.fresh_id(&[QUIET]));
        if self.dice.chance(40) {
            let mut rival = login.clone();
            rival.click_id = Some(self.fresh_id(&["c"]));
            rival.buyer_id = Some(self.dice.text(&BUYERS));
            clicks.push(rival);
        }
        let mut anonymous = login.clone();
        anonymous.click_id = Some(self.fresh_id(&["c"]));
        anonymous.buyer_id = None;
        let later = TimeDelta::minutes(self.dice.between(-90, 90));
        anonymous.clicked_at = login.clicked_at.map(|at| at + later);
        clicks.extend([login, anonymous]);
    }

    fn buyer(&mut self) -> Option<String> {
        if self.dice.chance(4) {
            Some("0".to_string())
        } else {
            self.dice.text_or_null(&BUYERS, 40)
        }
    }

    /// A visitor, hardly ever a word that stands for nobody.
    pub fn visitor(&mut self, nulls: u32) -> Option<String> {
        match self.dice.chance(4) {
            true => Some("0".to_string()),
            false => self.dice.text_or_null(&VISITORS, nulls),
        }
    }

    fn url(&mut self) -> String {
        let (key, other) = (self.key(), self.key());
        let fcid = format!("aff_fcid={}-{}-{}", "0f".repeat(16), "1".repeat(13), "2".repeat(5));
        match self.dice.between(0, 13) {
            0..=3 | 13 => format!("https://s.click.aliexpress.com/e/{key}"),
            4 => format!("http://s.click.aliexpress.com/e/{key}?{fcid}-{other}"),
            5 => format!("https://www.aliexpress.com/item/1.html?{fcid}-{key}"),
            6 => format!("https://www.aliexpress.com/item/1.html?sk=1&{fcid}-{key}&aff=1"),
            7 => format!("https://www.aliexpress.com/item/1.html?ref={other}&{fcid}-{key}#top"),
            8 => format!("https://shop.example/p?x=1&ref={key}"),
            9 => format!("https://shop.example/p?ref={key}&ref={other}"),
            10 => format!("https://go.example/r/{key}"),
            _ => self.dice.text(&[
                "https://go.example",
                "https://shop.example/p?ref=",
                "https://s.click.aliexpress.com/e/unknown",
                "https://shop.example/p",
                "https://s_click.aliexpress.com/e/K1",
                "https://www.aliexpress.com/item/1.html?aff_fcid=0f-1-2-K1",
            ]),
        }
    }

    fn key(&mut self) -> String {
        if self.dice.chance(12) { self.dice.text(&STRANGE_KEYS) } else { self.dice.text(&KEYS) }
    }

    pub fn vary_click(&mut self, click: &mut RawClick) {
        match self.dice.between(0, 7) {
            0 | 1 => click.clicked_at = click.clicked_at.map(|at| at + self.nudge()),
            2 => click.url = Some(self.url()),
            3 => click.buyer_id = self.dice.text_or_null(&BUYERS, 40),
            4 => click.visitor_id = self.dice.text_or_null(&VISITORS, 40),
            5 => click.store_id = self.dice.text_or_null(&STORES, 30),
            6 => click.country = self.dice.text_or_null(&COUNTRIES, 30),
            _ => click.device = self.dice.text_or_null(&DEVICES, 30),
        }
    }

    pub fn spoil_click(&mut self, click: &mut RawClick) {
        match self.dice.between(0, 5) {
            0 => click.click_id = self.dice.chance(50).then(String::new),
            1 => click.clicked_at = None,
            2 => click.clicked_at = self.far_off(click.clicked_at),
            3 => click.url = self.dice.chance(50).then(String::new),
            4 => click.url = Some("https://shop.example/".to_string()),
            _ => {
                click.clicked_at = None;
                click.url = None;
                click.click_id = Some(String::new());
            }
        }
    }
}
