package import Foundation
package import KeyturnCore

/// Seals by turning every bit over: enough to see that what lies in a journal is not what was put in.
package struct OpenSealer: Sealer {
    package init() {}

    package func seal(_ value: SecretValue) throws(SealError) -> Data {
        Data(value.exposedBytes().map { ~$0 })
    }

    package func open(_ sealed: Data) throws(SealError) -> SecretValue {
        SecretValue(sealed.map { ~$0 })
    }
}
