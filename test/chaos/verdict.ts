/** What became of the events of one sender, and which promises to it were broken. */
import type { Evidence } from './evidence.ts'
import type { Sender } from './senders.ts'

/** What a sender did, and what it was told. */
export type Sent = Pick<
  Sender,
  'name' | 'hasKey' | 'isTold' | 'sent' | 'answered' | 'answersLost' | 'toldLater' | 'wrong'
>

export interface Fate {
  readonly sender: string
  readonly hasKey: boolean
  readonly sent: number
  readonly acknowledged: number
  readonly handled: number
  readonly dead: number
  /** Had a positive answer, and was neither handled nor kept. */
  readonly lost: readonly string[]
  /** Handled again, and said so: the process was killed in the middle. */
  readonly redelivered: number
  /** Handled again without saying so. */
  readonly unmarked: readonly string[]
  /** Positive answers that never reached the sender, so that it sent again what the gateway had. */
  readonly answersLost: number
  /** Records in the journal beside the first one of each event. */
  readonly acceptedTwice: number
  readonly toldLater: number
}

export interface Verdict {
  readonly fate: Fate
  /** In words; none: all promises were kept. */
  readonly broken: readonly string[]
}

/** `hadTrouble`: for a while nothing could be stored. */
export function judge(sent: Sent, evidence: Evidence, hadTrouble: boolean): Verdict {
  const fate = fateOf(sent, evidence)
  const broken = [
    ...brokenPromises(fate),
    ...miscounted(fate, evidence),
    ...untried(fate, hadTrouble && sent.isTold),
    ...sent.wrong.map((answer) => `was told ${answer}`),
  ]
  return { fate, broken: broken.map((words) => `${sent.name}: ${words}`) }
}

function fateOf(sent: Sent, { notes, kept: { waiting, dead }, counts }: Evidence): Fate {
  const { name, hasKey, answered, answersLost, toldLater } = sent
  const seen = Map.groupBy(notes, ({ event }) => event)
  const again = [...seen.values()].flatMap(([, ...repeats]) => repeats)
  return {
    sender: name,
    hasKey,
    sent: sent.sent,
    acknowledged: answered.size,
    handled: seen.size,
    dead: dead.size,
    lost: [...answered].filter((event) => ![seen, dead, waiting].some((those) => those.has(event))),
    redelivered: again.filter(({ redelivered }) => redelivered).length,
    unmarked: again.flatMap(({ event, redelivered }) => (redelivered ? [] : event)),
    answersLost,
    acceptedTwice: counts.accepted - sent.sent,
    toldLater,
  }
}

function brokenPromises({ hasKey, sent, acknowledged, lost, unmarked, acceptedTwice }: Fate): string[] {
  // Nobody can tell what comes again without a key from what is new.
  const unknown = hasKey ? 0 : acceptedTwice
  return [
    ...(acknowledged < sent ? [`${sent - acknowledged} never had a positive answer`] : []),
    ...(lost.length > 0 ? [`${lost.length} lost: ${some(lost)}`] : []),
    ...(unmarked.length > unknown ? [`${unmarked.length} handled again without saying so: ${some(unmarked)}`] : []),
    ...(acceptedTwice < 0 ? [`${-acceptedTwice} never accepted`] : []),
    ...(hasKey && acceptedTwice > 0 ? [`${acceptedTwice} accepted twice`] : []),
  ]
}

/** What the journal says of itself, against what was seen from outside. */
function miscounted({ handled, dead, acceptedTwice }: Fate, { counts }: Evidence): string[] {
  const { accepted, waiting, discarded, expired } = counts
  const sum = counts.handled + waiting + counts.dead + discarded + expired
  const [handledTwice, deadTwice] = [counts.handled - handled, counts.dead - dead]
  const isSeen = Math.min(handledTwice, deadTwice) >= 0 && handledTwice + deadTwice === acceptedTwice
  if (accepted === sum && waiting === 0 && isSeen) return []
  return [`the journal does not add up: ${JSON.stringify(counts)}`]
}

/** What a run has to come across, or it shows nothing. */
function untried({ hasKey, answersLost, acceptedTwice, toldLater }: Fate, hadTrouble: boolean): string[] {
  return [
    ...(answersLost === 0 ? ['not tried: had every answer, so that nothing was sent again'] : []),
    ...(!hasKey && acceptedTwice < answersLost ? ['not tried: what it sent again did not arrive'] : []),
    ...(hadTrouble && toldLater === 0 ? ['not tried: was never told to come later'] : []),
  ]
}

const some = (events: readonly string[]) => events.slice(0, 20).join(', ')
