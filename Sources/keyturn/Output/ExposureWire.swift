import KeyturnCore
import KeyturnEngine

/// What still holds, or accepts, one compromised version: in JSON, and as rows of a table.
struct ExposureWire: Encodable {
    struct Place: Encodable {
        let backend: String
        let path: String
        let required: Bool
        let inPolicy: Bool
        let pruned: Bool
        let holds: String
        @Nullable var reason: String?
    }

    let secret: String
    let version: Int
    let issuer: String
    let issuerState: String
    @Nullable var issuerReason: String?
    let places: [Place]

    init(_ exposure: Exposure) {
        secret = exposure.secret.text
        version = exposure.version
        issuer = exposure.issuer
        issuerState = exposure.issuerState.rawValue
        issuerReason = exposure.issuerReason
        places = exposure.places.map {
            Place(
                backend: $0.target.backend, path: $0.target.path, required: $0.required, inPolicy: $0.isInPolicy,
                pruned: $0.isPruned, holds: $0.holding.rawValue, reason: $0.reason)
        }
    }

    static func table(_ exposures: [Exposure]) -> Table {
        var table = Table("SECRET", "VERSION", "WHERE", "STATE", "WHY")
        for exposure in exposures {
            table.add(
                (exposure.secret.text, nil), ("\(exposure.version)", nil), ("issuer \(exposure.issuer)", nil),
                (words(exposure.issuerState), color(exposure.issuerState)), (exposure.issuerReason ?? "", nil))
            for place in exposure.places {
                var notes: [String] = place.required ? [] : ["best effort"]
                if !place.isInPolicy { notes.append("not in the policy any more") }
                if let reason = place.reason { notes.append(reason) }
                table.add(
                    (exposure.secret.text, nil), ("\(exposure.version)", nil),
                    ("\(place.target.backend):\(place.target.path)", nil),
                    (words(place.holding), color(place.holding)), (notes.joined(separator: "; "), nil))
            }
        }
        return table
    }

    private static func words(_ state: Exposure.IssuerState) -> String {
        switch state {
        case .refused: "refuses it"
        case .revoked: "revoked"
        case .notYet: "accepts it"
        }
    }

    private static func words(_ holding: Exposure.Holding) -> String {
        switch holding {
        case .current: "gives it to consumers"
        case .stored: "holds it as an old version"
        case .no: "does not hold it"
        case .unknown: "not known"
        }
    }

    private static func color(_ state: Exposure.IssuerState) -> Color { state == .notYet ? .bad : .good }

    private static func color(_ holding: Exposure.Holding) -> Color {
        switch holding {
        case .current: .bad
        case .stored, .unknown: .warning
        case .no: .good
        }
    }
}
