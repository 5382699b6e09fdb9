pub fn fold_plumbing() {}
