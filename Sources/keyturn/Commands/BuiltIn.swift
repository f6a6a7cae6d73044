import ArgumentParser
import KeyturnCore
import KeyturnPolicy

/// What a command that lists the built-in types of one sort of system shows.
struct BuiltIn<Description> {
    /// Such as `issuer`.
    let what: String
    let all: [Description]
    let type: (Description) -> String
    let table: ([Description]) -> Table
    /// What is said of one type, and its parameters by where they are written.
    let about: (Description) -> (lines: [String], parameters: [(place: String, schema: ParameterSchema)])
    let json: ([Description]) throws -> String

    /// - Parameter named: a type; `nil` for all.
    /// - Throws: ``CommandFailure`` with status 64 where there is none of that name.
    func show(_ named: String?, _ options: GlobalOptions) throws {
        let shown = try filter(named)
        switch options.format {
        case .json: Terminal.print(try json(shown))
        case .table where named == nil: Terminal.print(table(shown).text(color: options.color))
        case .table:
            for description in shown {
                let (lines, parameters) = about(description)
                for line in lines { Terminal.print(line) }
                for (place, schema) in parameters {
                    Terminal.print("\nParameters \(place):")
                    Terminal.print(
                        schema.fields.isEmpty ? "none" : ParameterLines.table(schema).text(color: options.color))
                }
            }
        }
    }

    private func filter(_ named: String?) throws(CommandFailure) -> [Description] {
        let sorted = all.sorted { type($0) < type($1) }
        guard let named else { return sorted }
        let found = sorted.filter { type($0) == named }
        guard found.isEmpty else { return found }
        let hint = NearestName.hint(for: named, among: sorted.map(type))
        throw CommandFailure(
            .usage, "there is no type of \(what) '\(named.prefix(60))'\(hint)", advice: "`keyturn \(what)s` lists them")
    }
}

extension Bool {
    /// As a cell of a table.
    var cell: String { self ? "yes" : "-" }
}
