/// Columns of text, as wide as their widest cell.
struct Table {
    private let headings: [String]
    private var rows: [[(text: String, color: Color?)]] = []

    init(_ headings: String...) { self.headings = headings }

    var isEmpty: Bool { rows.isEmpty }

    mutating func add(_ cells: (text: String, color: Color?)...) { rows.append(cells) }
    mutating func add(_ cells: String...) { rows.append(cells.map { ($0, nil) }) }

    func text(color: Bool) -> String {
        let all = [headings.map { (text: $0, color: Color?.none) }] + rows
        let widths = headings.indices.map { column in all.map { $0[column].text.count }.max() ?? 0 }
        return all.enumerated().map { number, row in
            var line = ""
            for (column, cell) in row.enumerated() {
                let isLast = column == row.count - 1
                let padding = isLast ? "" : String(repeating: " ", count: widths[column] - cell.text.count + 2)
                let paint = number == 0 ? Color.faint : cell.color
                line += (color ? paint?.paint(cell.text) : nil) ?? cell.text
                line += padding
            }
            return line
        }.joined(separator: "\n")
    }
}
