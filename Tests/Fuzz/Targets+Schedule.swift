import Foundation
import KeyturnCore

extension Targets {
    static let schedules = [
        FuzzTarget("cron", words: ["*/", "*", "-", ",", "@daily", "@every", "mon", "jan", "L", "#", " ", "59", "7"]) {
            bytes in
            guard let cron = try? CronExpression(text(bytes)) else { return }
            try require((try? CronExpression(cron.description)) == cron, "an expression does not survive")
            var time = Date(timeIntervalSince1970: 1_800_000_000)
            for zone in ["Europe/Oslo", "UTC", "Australia/Lord_Howe"].compactMap(TimeZone.init(identifier:)) {
                for _ in 0..<3 {
                    guard let next = cron.next(after: time, in: zone) else { break }
                    try require(next > time, "time goes backwards")
                    time = next
                }
            }
        },
        FuzzTarget("duration", words: ["s", "m", "h", "d", "w", "1d12h", "100"]) { bytes in
            guard let duration = try? PolicyDuration(text(bytes)) else { return }
            try require(duration.seconds > 0, "a duration that is none")
            try require((try? PolicyDuration(duration.description)) == duration, "a duration does not survive")
        },
        FuzzTarget("time-of-day", words: [":", "24:00", "00", "23:59"]) { bytes in
            guard let time = try? TimeOfDay(text(bytes)) else { return }
            try require((try? TimeOfDay(time.description)) == time, "a time does not survive")
        },
        FuzzTarget("weekdays", words: ["mon", "sun", "-", ",", "daily", "weekdays"]) { bytes in
            guard let days = try? Weekdays(text(bytes)) else { return }
            try require((try? Weekdays(days.description)) == days, "days do not survive")
        },
        FuzzTarget("secret-name", words: ["/", "..", ".", "//", "\0", "%2e"]) { bytes in
            guard let name = try? SecretName(text(bytes)) else { return }
            let segments = name.text.split(separator: "/", omittingEmptySubsequences: false)
            try require(segments.allSatisfy { !$0.isEmpty && $0.first != "." }, "a name that leads out: \(name)")
            try require(name.text.utf8.elementsEqual(bytes), "a name that was changed")
        },
        FuzzTarget("lineage", words: ["keyturn:", ":", "01", "+1"]) { bytes in
            guard let lineage = Lineage(mark: text(bytes)) else { return }
            try require(lineage.description == text(bytes), "a lineage has a second spelling")
        },
    ]
}
