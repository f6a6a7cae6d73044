// Tells the thread sanitizer of two things that Swift's libraries do, which are not built for it, so that it does not take
// what they order for a race. Loaded before them.
//
// - A thread waits for another one at a `Mutex`: stdlib/public/Synchronization/Mutex/LinuxImpl.swift of swiftlang/swift.
// - A continuation that was resumed before it was waited for: the runtime tells of the resumption, not that the task goes
//   on after it, which it does with a call of `swift_task_switch` (stdlib/public/Concurrency/Task.cpp).
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>

#define LOCK "$s15Synchronization12_MutexHandleV9_lockSlowyys6UInt32VF"
#define UNLOCK "$s15Synchronization12_MutexHandleV11_unlockSlowyyF"
#define SWIFT __attribute__((swiftcall))
#define SELF __attribute__((swift_context)) void *

void __tsan_acquire(void *) __attribute__((weak));
void __tsan_release(void *) __attribute__((weak));

static void *next(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) abort();
    return found;
}

SWIFT void lock_slow(uint32_t thread, SELF self) __asm__(LOCK);
SWIFT void lock_slow(uint32_t thread, SELF self) {
    static SWIFT void (*original)(uint32_t, SELF);
    if (!original) original = (SWIFT void (*)(uint32_t, SELF))next(LOCK);
    original(thread, self);
    if (__tsan_acquire) __tsan_acquire(self);
}

SWIFT void unlock_slow(SELF self) __asm__(UNLOCK);
SWIFT void unlock_slow(SELF self) {
    static SWIFT void (*original)(SELF);
    if (!original) original = (SWIFT void (*)(SELF))next(UNLOCK);
    if (__tsan_release) __tsan_release(self);
    original(self);
}

void *swift_task_getCurrent(void) __attribute__((swiftcall, weak));

typedef __attribute__((swiftasynccall)) void (*Switch)(
    __attribute__((swift_async_context)) void *context, void *resume, void *executor, void *witness);

__attribute__((swiftasynccall)) void swift_task_switch(
    __attribute__((swift_async_context)) void *context, void *resume, void *executor, void *witness) {
    static Switch original;
    if (!original) original = (Switch)next("swift_task_switch");
    if (__tsan_acquire) __tsan_acquire(swift_task_getCurrent());
    __attribute__((musttail)) return original(context, resume, executor, witness);
}
