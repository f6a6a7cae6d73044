import TestSupport

/// Every parser of data that comes from outside.
enum Targets {
    static func all() throws -> [FuzzTarget] {
        let folder = try ScratchFolder()
        return age + keys + schedules + texts + [kubeconfig] + [try policy(folder), try configuration(folder)]
            + (try systems(folder))
            + (try momento(folder)) + (try dotenv(folder))
    }
}
