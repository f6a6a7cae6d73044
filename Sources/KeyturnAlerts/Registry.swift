package import KeyturnCore
package import KeyturnSystem

/// A type of alert sink with the function that makes one.
package struct AlertType: Sendable {
    package let description: AlertDescription
    package let make: @Sendable (String, Parameters, SystemServices) throws(SystemError) -> any AlertSink
}

/// The alert sinks that are built in: one line each.
package enum AlertRegistry {
    package static let all: [AlertType] = [
        WebhookSink.type,
        CommandSink.type,
    ]

    package static var descriptions: [AlertDescription] { all.map(\.description) }
}
