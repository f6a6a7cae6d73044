import KeyturnCore

extension PasswordRules {
    /// The parameters of whatever makes passwords.
    static let fields: [ParameterField] = [
        ParameterField(
            "length", .integer(8...4096), "Characters of a password, hex or base64url text; 32 when absent."),
        ParameterField(
            "alphabet", .string(minimumLength: 2),
            "alphanumeric, letters, digits, hex, base64url, ascii, or the characters themselves."),
        ParameterField("exclude", .string(), "Characters that are left out."),
        ParameterField(
            "classes",
            .object(
                ParameterSchema(
                    Class.allCases.map {
                        ParameterField($0.rawValue, .integer(0...64), "The least number of \($0.rawValue).")
                    })), "The least number of characters of each class."),
    ]

    /// What is wrong with rules, or weak.
    static func problems(_ parameters: Parameters) -> [ParameterProblem] {
        do throws(RuleError) {
            let rules = try PasswordRules(parameters)
            guard rules.entropy < 80 else { return [] }
            return [
                ParameterProblem(
                    path: ["length"],
                    message: "only \(Int(rules.entropy)) bits can be chosen; 80 and more withstand guessing",
                    isWarning: true)
            ]
        } catch { return [ParameterProblem(path: [error.path], message: error.reason)] }
    }

    /// A password of the system's own random numbers.
    static func choose(_ parameters: Parameters) throws(SystemError) -> SecretValue {
        do throws(RuleError) {
            var generator = SystemRandomNumberGenerator()
            return SecretValue(try PasswordRules(parameters).password(using: &generator))
        } catch {
            throw SystemError(.misconfigured, "no password can be made: \(error.reason)")
        }
    }
}
