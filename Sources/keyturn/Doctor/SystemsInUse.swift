import KeyturnCore
import KeyturnEngine
import KeyturnHTTP
import KeyturnStore
import KeyturnSystem

/// The systems that could be made, and the connections to let go of afterwards.
struct SystemsInUse {
    let workplace: Workplace
    private let services: SystemServices

    init(_ context: DoctorContext, _ composition: Composition) throws(CommandFailure) {
        services = try composition.services(context.journal, AgeSealer(identities: context.identities))
        workplace = composition.systems(services).0
    }

    func finish() { services.http.shutdown() }
}
