//! How `omrust.so` is linked.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // A host that has closed the library must not take its code from under a thread: a lookup of a name cannot be ended.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
}
