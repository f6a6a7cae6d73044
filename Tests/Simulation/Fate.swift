import KeyturnCore

/// What becomes of one call to an outside system.
enum CallFate {
    case answered
    /// It arrives twice, the second time so many seconds after the answer.
    case arrivesTwice(again: Double)
    case refused(SystemError)
    case lostBefore
    case lostAfter
    /// The effect comes so many seconds after the caller has given up.
    case late(Double)
    case diesBefore
    case diesAfter
}

/// What becomes of one write of the journal.
enum WriteFate {
    case durable
    case full
    /// The process dies with the write.
    case diesBefore
    /// It is durable, though the process never hears of it.
    case diesAfter
}

extension World {
    func fate(ofCallTo system: String, mayBeRepeated: Bool, mayBeLate: Bool) -> CallFate {
        if let script { return script.fateOfCall() }
        if let until = outages[system], until > clock.now {
            return .refused(
                SystemError(
                    chance(0.5) ? .unreachable : .unavailable, "it is down", mayHaveTakenEffect: chance(0.3)))
        }
        if happens(.refusedPassing) {
            return .refused(SystemError(.rateLimited, "too many requests", retryAfter: between(1, 30)))
        }
        if happens(.refusedForGood) { return .refused(SystemError(.forbidden, "no right")) }
        if happens(.crashBeforeCall) { return .diesBefore }
        if happens(.crashAfterCall) { return .diesAfter }
        if happens(.lostBefore) { return .lostBefore }
        if mayBeLate, happens(.late) { return .late(between(0.5, 10)) }
        if mayBeRepeated, happens(.twice) { return .arrivesTwice(again: mayBeLate ? between(0, 10) : 0) }
        return happens(.lostAfter) ? .lostAfter : .answered
    }

    func fateOfWrite() -> WriteFate {
        if let script { return script.fateOfWrite() }
        if diskFullUntil > clock.now { return .full }
        if happens(.crashBeforeWrite) { return .diesBefore }
        return happens(.crashAfterWrite) ? .diesAfter : .durable
    }
}
