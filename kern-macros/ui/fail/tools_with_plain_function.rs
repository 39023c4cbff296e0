use kern::prelude::*;

fn look_up(key: String) -> String {
    key
}

fn main() {
    let _ = tools![look_up];
    look_up("k".to_owned());
}
