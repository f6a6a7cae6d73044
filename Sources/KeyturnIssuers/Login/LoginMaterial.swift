import KeyturnCore
import KeyturnHTTP

/// A login at a server, as consumers get it: the password alone, or with the user's name in JSON, or in a URL.
struct LoginMaterial {
    let scheme: String
    let user: String
    let password: SecretValue
    let host: String
    let port: Int
    /// What stands behind the slash of the URL; `nil` for no slash.
    var path: String?
    var more: [String: String] = [:]

    static let formats = ["password", "json", "url"]
    static let fields = ["user", "password", "url", "host", "port"]

    func key(as format: String) -> KeyMaterial {
        // The letters of a password are ASCII: the rules see to that.
        let text = FormBody.escape(password.exposedText() ?? "")
        // An IPv6 address stands in brackets, a folder of sockets is escaped like all else.
        let place = host.contains(":") ? "[\(host)]" : FormBody.escape(host)
        let end = path.map { "/" + FormBody.escape($0) } ?? ""
        let url = SecretValue(utf8: "\(scheme)://\(FormBody.escape(user)):\(text)@\(place):\(port)\(end)")
        var fields = more.mapValues { SecretValue(utf8: $0) }
        fields["user"] = SecretValue(utf8: user)
        fields["password"] = password
        fields["url"] = url
        fields["host"] = SecretValue(utf8: host)
        fields["port"] = SecretValue(utf8: String(port))
        let value =
            switch format {
            case "url": url
            case "json": json
            default: password
            }
        return KeyMaterial(value: value, fields: fields)
    }

    private var json: SecretValue {
        var json = Array("{\"user\":".utf8) + SecretValue(utf8: user).jsonString
        json += Array(",\"password\":".utf8) + password.jsonString + [UInt8(ascii: "}")]
        defer { for index in json.indices { json[index] = 0 } }
        return SecretValue(json)
    }
}
