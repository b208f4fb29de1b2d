/** Topic names and topic filters: their grammar, matching, and when one filter takes all that another one takes. */

export interface TopicLimits {
  readonly maxTopicLevels: number
  /** In bytes of UTF-8. */
  readonly maxTopicLength: number
}

/** Why this cannot be the topic of a publish, as a sentence; undefined when it can. */
export function topicProblem(topic: string, limits: TopicLimits): string | undefined {
  if (/[+#]/.test(topic)) return `the topic ${JSON.stringify(topic)} has a wildcard` // [MQTT-3.3.2-2]
  return problem(topic, 'topic', limits)
}

/** Why this cannot be a topic filter, as a sentence; undefined when it can. */
export function filterProblem(filter: string, limits: TopicLimits): string | undefined {
  const unfit = problem(filter, 'topic filter', limits)
  if (unfit) return unfit
  const levels = filter.split('/')
  for (const [index, level] of levels.entries()) {
    // [MQTT-4.7.1-2]
    if (level.includes('#') && (level !== '#' || index < levels.length - 1)) {
      return `the topic filter ${JSON.stringify(filter)} has a # that is not a level of its own at the end`
    }
    // [MQTT-4.7.1-3]
    if (level.includes('+') && level !== '+') {
      return `the topic filter ${JSON.stringify(filter)} has a + that is not a level of its own`
    }
  }
  return undefined
}

/** What holds for names and filters alike. */
function problem(text: string, what: string, { maxTopicLevels, maxTopicLength }: TopicLimits): string | undefined {
  if (text === '') return `the ${what} is empty` // [MQTT-4.7.3-1]
  const length = Buffer.byteLength(text)
  if (length > maxTopicLength) return `the ${what} has ${length} bytes: at most ${maxTopicLength} are taken`
  if (text.includes('\0')) return `the ${what} has a NUL character` // [MQTT-4.7.3-2]
  if (!text.isWellFormed()) return `the ${what} is no valid Unicode` // [MQTT-1.5.3-1]
  const levels = levelCount(text)
  return levels > maxTopicLevels ? `the ${what} has ${levels} levels: at most ${maxTopicLevels} are taken` : undefined
}

/** `a/b/` has three levels. */
function levelCount(topic: string): number {
  let levels = 1
  for (let index = topic.indexOf('/'); index !== -1; index = topic.indexOf('/', index + 1)) levels++
  return levels
}

/** Topics of the broker's own: `$SYS/…`. Clients and applications only read them. */
export function isReserved(topic: string): boolean {
  return topic === '$SYS' || topic.startsWith('$SYS/')
}

/** Whether a filter, as levels, takes a topic. A literal level may hold anything, also a wildcard character. */
export function filterMatches(filter: readonly FilterLevel[], topic: string): boolean {
  return covers(filter, topic.split('/').map(literal))
}

/** One level of a filter: text, one level of anything (`+`), or all the rest (`#`). */
export type FilterLevel = { readonly text: string } | '+' | '#'

export function parseFilter(filter: string): readonly FilterLevel[] {
  return filter.split('/').map((level) => (level === '+' || level === '#' ? level : literal(level)))
}

export function literal(text: string): FilterLevel {
  return { text }
}

/** Whether `wide` takes every topic that `narrow` takes. */
export function covers(wide: readonly FilterLevel[], narrow: readonly FilterLevel[]): boolean {
  // [MQTT-4.7.2-1]: a wildcard at the start stays away from $SYS and its like.
  if (typeof wide[0] === 'string' && startsWithDollar(narrow[0])) return false
  for (const [index, level] of wide.entries()) {
    if (level === '#') return true // also the parent level itself, section 4.7.1.2
    const other = narrow[index]
    if (other === undefined || other === '#') return false
    if (level !== '+' && (other === '+' || other.text !== level.text)) return false
  }
  return narrow.length === wide.length
}

function startsWithDollar(level: FilterLevel | undefined): boolean {
  return typeof level === 'object' && level.text.startsWith('$')
}
