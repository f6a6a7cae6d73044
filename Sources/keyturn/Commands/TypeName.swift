import KeyturnPolicy

/// The type of a system as a person names it on the command line.
enum TypeName {
    /// All of them, or the one that is named.
    ///
    /// - Throws: ``CommandFailure`` with status 64 where there is none of that name.
    static func filter<Description>(
        _ all: [Description], _ named: String?, _ type: (Description) -> String, _ what: String
    ) throws(CommandFailure) -> [Description] {
        guard let named else { return all }
        let found = all.filter { type($0) == named }
        guard found.isEmpty else { return found }
        let hint = NearestName.hint(for: named, among: all.map(type))
        throw CommandFailure(
            .usage, "there is no type of \(what) '\(named.prefix(60))'\(hint)", advice: "`keyturn \(what)s` lists them")
    }
}
