//! Values in tables within tables, by names with dots: `redis.tls.enabled`.

use toml::{Table, Value};

/// The value of this name.
pub fn get<'a>(table: &'a Table, name: &str) -> Option<&'a Value> {
    match name.split_once('.') {
        Some((first, rest)) => get(table.get(first)?.as_table()?, rest),
        None => table.get(name),
    }
}

/// Sets it, and makes the tables around it. `None` if one of them is something else.
pub fn put(table: &mut Table, name: &str, value: Value) -> Option<()> {
    match name.split_once('.') {
        Some((first, rest)) => {
            put(table.entry(first).or_insert_with(|| Table::new().into()).as_table_mut()?, rest, value)
        }
        None => {
            table.insert(name.to_owned(), value);
            Some(())
        }
    }
}

/// Takes it out, if it is there.
pub fn remove(table: &mut Table, name: &str) {
    match name.split_once('.') {
        Some((first, rest)) => {
            if let Some(inner) = table.get_mut(first).and_then(Value::as_table_mut) {
                remove(inner, rest);
            }
        }
        None => drop(table.remove(name)),
    }
}

/// The names of all values that are no tables, sorted.
pub fn names(table: &Table) -> Vec<String> {
    let mut found = Vec::new();
    for (name, value) in table {
        match value {
            Value::Table(inner) => found.extend(names(inner).iter().map(|rest| format!("{name}.{rest}"))),
            _ => found.push(name.clone()),
        }
    }
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_found() {
        let mut table = Table::new();
        for name in ["a.b.c", "a.b.d", "a.e", "f"] {
            put(&mut table, name, Value::Boolean(true)).expect("put");
            assert_eq!(get(&table, name), Some(&Value::Boolean(true)));
        }
        assert_eq!(names(&table), ["a.b.c", "a.b.d", "a.e", "f"]);
        remove(&mut table, "a.b.d");
        remove(&mut table, "a.x.y");
        assert_eq!(names(&table), ["a.b.c", "a.e", "f"]);
        assert_eq!(put(&mut table, "f.g", Value::Boolean(true)), None);
        assert_eq!(get(&table, "f.g"), None);
    }
}
