// swift-tools-version: 6.2
import PackageDescription

// One set of settings for every Swift target: https://github.com/swiftlang/swift-evolution
// SE-0335 (any), SE-0444 (member imports), SE-0409 (import access), SE-0443 (warnings as errors).
let strict: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .treatAllWarnings(as: .error),
]

let crypto = Target.Dependency.product(name: "Crypto", package: "swift-crypto")
let cryptoExtras = Target.Dependency.product(name: "CryptoExtras", package: "swift-crypto")
let yams = Target.Dependency.product(name: "Yams", package: "Yams")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")

let package = Package(
    name: "keyturn",
    products: [
        .executable(name: "keyturn", targets: ["keyturn"])
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
        .package(url: "https://github.com/apple/swift-protobuf", from: "1.39.0"),
        .package(url: "https://github.com/apple/swift-system", from: "1.5.0"),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
        .package(url: "https://github.com/swiftlang/swift-subprocess", from: "1.0.0"),
    ],
    targets: [
        .systemLibrary(name: "CCurl", pkgConfig: "libcurl", providers: [.apt(["libcurl4-openssl-dev"])]),
        .systemLibrary(name: "CLinux"),
        .systemLibrary(name: "CSodium", pkgConfig: "libsodium", providers: [.apt(["libsodium-dev"])]),
        .systemLibrary(name: "CPostgres", pkgConfig: "libpq", providers: [.apt(["libpq-dev"])]),
        .target(name: "PostgresClient", dependencies: ["KeyturnCore", "CPostgres"], swiftSettings: strict),
        .target(name: "Age", dependencies: [crypto, cryptoExtras], swiftSettings: strict),
        .target(name: "KeyturnCore", dependencies: [crypto], swiftSettings: strict),
        .target(
            name: "KeyturnPolicy",
            dependencies: ["KeyturnCore", "KeyturnYAML", crypto, yams],
            swiftSettings: strict
        ),
        .target(name: "KeyturnYAML", dependencies: [yams], swiftSettings: strict),
        .target(
            name: "KeyturnEngine",
            dependencies: ["KeyturnCore", logging],
            swiftSettings: strict
        ),
        .target(
            name: "KeyturnStore",
            dependencies: ["KeyturnCore", "KeyturnSystem", "Age", .product(name: "GRDB", package: "GRDB.swift")],
            swiftSettings: strict
        ),
        .target(
            name: "KeyturnHTTP", dependencies: ["KeyturnCore", "CCurl", crypto, cryptoExtras, logging],
            swiftSettings: strict
        ),
        .target(
            name: "KeyturnSystem",
            dependencies: [
                "KeyturnCore", "KeyturnHTTP", .product(name: "Subprocess", package: "swift-subprocess"),
                .product(name: "SystemPackage", package: "swift-system"),
            ],
            swiftSettings: strict
        ),
        .target(
            name: "KeyturnIssuers",
            dependencies: [
                "KeyturnCore", "KeyturnHTTP", "KeyturnSystem", "PostgresClient", crypto, cryptoExtras,
                .product(name: "SwiftProtobuf", package: "swift-protobuf"),
            ],
            exclude: ["Momento/Messages/auth.proto"], swiftSettings: strict
        ),
        .target(
            name: "KeyturnBackends",
            dependencies: [
                "KeyturnCore", "KeyturnHTTP", "KeyturnSystem", "KeyturnYAML", "Age", "CSodium", crypto, yams,
            ],
            swiftSettings: strict
        ),
        .target(
            name: "KeyturnAlerts",
            dependencies: ["KeyturnCore", "KeyturnHTTP", "KeyturnSystem", crypto],
            swiftSettings: strict
        ),
        .executableTarget(
            name: "keyturn",
            dependencies: [
                "KeyturnCore", "KeyturnPolicy", "KeyturnEngine", "KeyturnStore", "KeyturnHTTP", "KeyturnSystem",
                "KeyturnIssuers", "KeyturnBackends", "KeyturnAlerts", "Age", "CLinux", logging,
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "UnixSignals", package: "swift-service-lifecycle"),
            ],
            swiftSettings: strict
        ),
        .target(
            name: "TestSupport", dependencies: ["KeyturnCore", "KeyturnHTTP", "KeyturnSystem", crypto, cryptoExtras],
            path: "Tests/TestSupport", swiftSettings: strict
        ),
        .target(
            name: "Simulation", dependencies: ["KeyturnCore", "KeyturnEngine", "TestSupport", logging],
            path: "Tests/Simulation", swiftSettings: strict
        ),
        .executableTarget(
            name: "keyturn-simulate",
            dependencies: [
                "KeyturnCore", "Simulation", "TestSupport",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            path: "Tests/Simulate", exclude: ["mutations.py"], swiftSettings: strict
        ),
        .testTarget(
            name: "SimulationTests", dependencies: ["KeyturnCore", "Simulation", "TestSupport"], swiftSettings: strict
        ),
        .executableTarget(
            name: "keyturn-fuzz",
            dependencies: [
                "Age", "KeyturnCore", "KeyturnPolicy", "KeyturnHTTP", "KeyturnSystem", "KeyturnIssuers",
                "KeyturnBackends", "KeyturnAlerts", "TestSupport",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            path: "Tests/Fuzz", exclude: ["Corpus"], swiftSettings: strict
        ),
        .testTarget(
            name: "AgeTests", dependencies: ["Age", "TestSupport"], resources: [.copy("Fixtures")],
            swiftSettings: strict
        ),
        .testTarget(
            name: "KeyturnCoreTests", dependencies: ["KeyturnCore", "TestSupport"], exclude: ["Fixtures"],
            swiftSettings: strict
        ),
        .testTarget(
            name: "KeyturnPolicyTests",
            dependencies: ["KeyturnCore", "KeyturnPolicy", "KeyturnIssuers", "KeyturnBackends", "KeyturnAlerts"],
            swiftSettings: strict
        ),
        .testTarget(
            name: "KeyturnStoreTests",
            dependencies: [
                "KeyturnCore", "KeyturnStore", "Age", "TestSupport", .product(name: "GRDB", package: "GRDB.swift"),
            ],
            swiftSettings: strict
        ),
        .testTarget(name: "PostgresClientTests", dependencies: ["PostgresClient"], swiftSettings: strict),
        .testTarget(
            name: "KeyturnHTTPTests", dependencies: ["KeyturnCore", "KeyturnHTTP", "KeyturnSystem", "TestSupport"],
            exclude: ["Fixtures"], swiftSettings: strict
        ),
        .testTarget(
            name: "KeyturnSystemTests", dependencies: ["KeyturnCore", "KeyturnHTTP", "KeyturnSystem", "TestSupport"],
            swiftSettings: strict
        ),
        .testTarget(
            name: "KeyturnBackendsTests",
            dependencies: [
                "KeyturnCore", "KeyturnBackends", "KeyturnHTTP", "KeyturnSystem", "Age", "CSodium", "TestSupport",
            ],
            exclude: ["Fixtures"], swiftSettings: strict
        ),
        .testTarget(
            name: "KeyturnIssuersTests",
            dependencies: ["KeyturnCore", "KeyturnHTTP", "KeyturnIssuers", "KeyturnSystem", "TestSupport"],
            exclude: ["Fixtures"], swiftSettings: strict
        ),
        .testTarget(
            name: "KeyturnAlertsTests", dependencies: ["KeyturnCore", "KeyturnAlerts", "TestSupport"],
            swiftSettings: strict
        ),
        .testTarget(
            name: "KeyturnEngineTests", dependencies: ["KeyturnCore", "KeyturnEngine", "TestSupport", logging],
            swiftSettings: strict
        ),
    ],
    swiftLanguageModes: [.v6]
)
