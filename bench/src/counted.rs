//! An allocator that counts: how often a thread allocates, and how many bytes are held.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

/// The system's allocator, counted. Counting calls costs a nanosecond; counting bytes is off unless asked
/// for, since its one counter is shared by all threads.
pub struct Counted;

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
}
static WEIGHING: AtomicBool = AtomicBool::new(false);
static HELD: AtomicI64 = AtomicI64::new(0);

fn weigh(bytes: i64) {
    if WEIGHING.load(Ordering::Relaxed) {
        HELD.fetch_add(bytes, Ordering::Relaxed);
    }
}

// SAFETY: every call goes to the system's allocator unchanged; counting allocates nothing.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = CALLS.try_with(|calls| calls.set(calls.get() + 1));
        weigh(layout.size() as i64);
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        weigh(-(layout.size() as i64));
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let _ = CALLS.try_with(|calls| calls.set(calls.get() + 1));
        weigh(layout.size() as i64);
        // SAFETY: as the caller promised.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let _ = CALLS.try_with(|calls| calls.set(calls.get() + 1));
        weigh(size as i64 - layout.size() as i64);
        // SAFETY: as the caller promised.
        unsafe { System.realloc(ptr, layout, size) }
    }
}

/// How often this thread has allocated.
pub fn calls() -> u64 {
    CALLS.with(Cell::get)
}

/// By how many bytes `work` let what the process holds grow, on all its threads.
pub fn growth<T>(work: impl FnOnce() -> T) -> (i64, T) {
    let before = HELD.load(Ordering::Relaxed);
    WEIGHING.store(true, Ordering::SeqCst);
    let made = work();
    WEIGHING.store(false, Ordering::SeqCst);
    (HELD.load(Ordering::Relaxed) - before, made)
}
