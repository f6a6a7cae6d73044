// swift-format-ignore: UseSynthesizedInitializer
/// A member of a JSON output that may have nothing to say: it is `null` then, so that every key is always there.
@propertyWrapper
struct Nullable<Value: Encodable>: Encodable {
    var wrappedValue: Value?

    // The compiler's own has a default, which would change the initializers of the structures around it.
    init(wrappedValue: Value?) { self.wrappedValue = wrappedValue }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        if let wrappedValue { try container.encode(wrappedValue) } else { try container.encodeNil() }
    }
}
