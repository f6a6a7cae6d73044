import Synchronization

#if canImport(Glibc)
    import Glibc
#endif

/// Memory for values: kept out of swap and of dumps where the system allows it, and overwritten when it is given back.
///
/// Values are small and many, and a page is the least that can be locked: small ones share pages, by size, and such pages
/// stay for later values. A large one gets pages of its own.
package enum LockedMemory {
    /// Slots are of these sizes, in bytes; what is larger gets pages of its own.
    private static let sizes = [32, 64, 128, 256, 512, 1024, 2048, 4096]
    /// What is asked of the system at a time for slots of one size, in bytes.
    private static let chunk = 16 * 1024

    private struct State {
        /// Addresses of free slots, by the index of their size. They lie apart from the slots, which stay all zeros.
        var free: [[UInt]] = Array(repeating: [], count: LockedMemory.sizes.count)
        var isRefused = false
        var locked = 0
    }

    private static let state = Mutex(State())

    /// Whether the system refused to lock some of it: RLIMIT_MEMLOCK is too low. It is used all the same.
    package static var isRefused: Bool { state.withLock { $0.isRefused } }

    /// How much of it is locked, in bytes.
    package static var locked: Int { state.withLock { $0.locked } }

    /// Memory for so many bytes, aligned to 16, all zeros.
    static func allocate(_ count: Int) -> UnsafeMutableRawPointer {
        state.withLock { state in
            guard let index = sizes.firstIndex(where: { $0 >= count }) else {
                return pages(pageRounded(count), &state)
            }
            if let address = state.free[index].popLast(), let slot = UnsafeMutableRawPointer(bitPattern: address) {
                return slot
            }
            let base = pages(chunk, &state)
            state.free[index] += stride(from: chunk - sizes[index], to: 0, by: -sizes[index]).map {
                UInt(bitPattern: base + $0)
            }
            return base
        }
    }

    /// Overwrites it first.
    static func deallocate(_ memory: UnsafeMutableRawPointer, _ count: Int) {
        // explicit_bzero is not optimised away.
        explicit_bzero(memory, count)
        state.withLock { state in
            guard let index = sizes.firstIndex(where: { $0 >= count }) else {
                let length = pageRounded(count)
                if munlock(memory, length) == 0 { state.locked -= length }
                munmap(memory, length)
                return
            }
            state.free[index].append(UInt(bitPattern: memory))
        }
    }

    private static func pages(_ length: Int, _ state: inout State) -> UnsafeMutableRawPointer {
        guard let memory = mmap(nil, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
            memory != MAP_FAILED
        else { fatalError("there is no memory left") }
        if mlock(memory, length) == 0 { state.locked += length } else { state.isRefused = true }
        madvise(memory, length, MADV_DONTDUMP)
        return memory
    }

    private static func pageRounded(_ count: Int) -> Int {
        let page = Int(sysconf(Int32(_SC_PAGESIZE)))
        return (count + page - 1) / page * page
    }
}
