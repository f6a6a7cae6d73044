package import KeyturnCore

extension TLSSettings {
    /// As the configuration of a system says.
    package init(_ parameters: Parameters) {
        self.init(
            caFile: parameters.string("caFile"), certificateFile: parameters.string("certificateFile"),
            keyFile: parameters.string("keyFile"), allowsInsecure: parameters.boolean("allowInsecure") ?? false)
    }

    // What a system that is spoken to over HTTP takes for it.
    package static let caFile = ParameterField(
        "caFile", .path, "PEM file of certificate authorities in place of the system's.")
    package static let allowInsecure = ParameterField(
        "allowInsecure", .boolean, "Whether plain http may leave this machine.")
}
