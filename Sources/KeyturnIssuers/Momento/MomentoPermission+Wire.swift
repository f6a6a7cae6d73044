import Foundation

extension MomentoPermission {
    var message: MomentoWirePermission {
        var message = MomentoWirePermission()
        switch resource {
        case .items(let selector):
            message.caches.role = role.wire
            if let cache { message.caches.cacheSelector.cacheName = cache } else { message.caches.allCaches = .init() }
            switch selector {
            // As Momento's clients do it: none named means all.
            case .all: break
            case .named(let key): message.caches.itemSelector.key = Data(key.utf8)
            case .prefixed(let prefix): message.caches.itemSelector.keyPrefix = Data(prefix.utf8)
            }
        case .topics(let selector):
            message.topics.role = role.wire
            if let cache { message.topics.cacheSelector.cacheName = cache } else { message.topics.allCaches = .init() }
            switch selector {
            case .all: message.topics.allTopics = .init()
            case .named(let name): message.topics.topicSelector.topicName = name
            case .prefixed(let prefix): message.topics.topicSelector.topicNamePrefix = prefix
            }
        case .functions(let selector):
            message.functions.role = role.wire
            if let cache {
                message.functions.cacheSelector.cacheName = cache
            } else {
                message.functions.allCaches = .init()
            }
            switch selector {
            case .all: message.functions.allFunctions = .init()
            case .named(let name): message.functions.functionSelector.functionName = name
            case .prefixed(let prefix): message.functions.functionSelector.functionNamePrefix = prefix
            }
        }
        return message
    }
}

extension MomentoPermission.Role {
    /// The number on the wire; 0 stands for none.
    fileprivate var wire: UInt32 {
        switch self {
        case .readWrite, .publishSubscribe, .invoke: 1
        case .readOnly, .subscribeOnly: 2
        case .writeOnly, .publishOnly: 3
        }
    }
}
