"""What SQL over ClickHouse may name: every list of what is allowed.

All are allow-lists: what a later version of ClickHouse adds is refused until somebody has looked at it and put it here. Left
out is what reads files, addresses, dictionaries, models, settings, the environment, users, other tables or the state of the
server; what takes the name of a function as a text; and what waits.
"""

from __future__ import annotations

import re

#: Functions, by ClickHouse's own groups. Behind those that it takes in any case there is a ~.
_FUNCTIONS = """
abs~ avg2~ byteSwap~ divide divideDecimal divideOrNull gcd ifNotFinite intDiv intDivOrNull intDivOrZero isFinite
isInfinite isNaN lcm max2~ midpoint~ min2~ minus modOrNull~ modulo moduloLegacy moduloOrNull moduloOrZero mod~
multiply multiplyDecimal negate plus pmodOrNull~ pmod~ positive_modulo_or_null~ positive_modulo~
positiveModuloOrNull~ positiveModulo~ sqr~

array array_remove~ arrayAll arrayAUC arrayAUCPR arrayAutocorrelation arrayAvg arrayBottomK arrayCompact
arrayConcat arrayCount arrayCumSum arrayCumSumNonNegative arrayDifference arrayDistinct arrayDotProduct
arrayElement arrayElementOrNull arrayEnumerate arrayEnumerateDense arrayEnumerateDenseRanked arrayEnumerateUniq
arrayEnumerateUniqRanked arrayExcept arrayExists arrayFill arrayFilter arrayFirst arrayFirstIndex arrayFirstOrNull
arrayFlatten arrayFlattenedLength arrayFold arrayIntersect arrayJaccardIndex arrayJoin arrayLast arrayLastIndex
arrayLastOrNull arrayLevenshteinDistance arrayLevenshteinDistanceWeighted arrayMap arrayMax arrayMin
arrayNormalizedGini arrayPartialReverseSort arrayPartialShuffle~ arrayPartialSort arrayPopBack arrayPopFront
arrayPRAUC arrayProduct arrayPushBack arrayPushFront arrayRandomSample arrayRemove arrayResize arrayReverse
arrayReverseFill arrayReverseSort arrayReverseSplit arrayROCAUC arrayRotateLeft arrayRotateRight arrayShiftLeft
arrayShiftRight arrayShingles arrayShuffle~ arraySimilarity arraySlice arraySort arraySplit arraySum
arraySymmetricDifference arrayTopK arrayTranspose arrayUnion arrayUniq arrayWithConstant arrayZip
arrayZipUnaligned CARDINALITY~ countEqual empty emptyArrayDate emptyArrayDateTime emptyArrayFloat32
emptyArrayFloat64 emptyArrayInt16 emptyArrayInt32 emptyArrayInt64 emptyArrayInt8 emptyArrayString
emptyArrayToSingle emptyArrayUInt16 emptyArrayUInt32 emptyArrayUInt64 emptyArrayUInt8 flatten~ has hasAll hasAny
hasSubstr indexOf indexOfAssumeSorted length~ notEmpty notHas OCTET_LENGTH~ randomHadamardTransform range
replicate reverse~ unnest~

bitAnd bitCount bitHammingDistance bitNot bitOr bitRotateLeft bitRotateRight bitShiftLeft bitShiftRight bitSlice
bitTest bitTestAll bitTestAny bitXor

equals greater greaterOrEquals in isDistinctFrom isNotDistinctFrom less lessOrEquals notEquals notIn notNullIn
nullIn

caseWithoutExpr caseWithoutExpression clamp greatest~ if~ least~ multiIf

addDate~ addDays addHours addInterval addMicroseconds addMilliseconds addMinutes addMonths addNanoseconds
addQuarters addSeconds addTupleOfIntervals addWeeks addYears age~ changeDay changeHour changeMinute changeMonth
changeSecond changeYear curdate~ current_date~ current_timestamp~ date_bin~ DATE_DIFF date_diff DATE_FORMAT~
DATE_TRUNC~ dateDiff~ dateName~ dateTrunc DAYOFMONTH~ DAYOFWEEK~ DAYOFYEAR~ DAY~ formatDateTime
formatDateTimeInJodaSyntax FROM_DAYS~ FROM_UNIXTIME~ from_utc_timestamp~ fromDaysSinceYearZero
fromDaysSinceYearZero32 fromModifiedJulianDay fromModifiedJulianDayOrNull fromUnixTimestamp
fromUnixTimestampInJodaSyntax fromUTCTimestamp HOUR~ LAST_DAY~ localtimestamp~ localtime~ makeDate32~
makeDateTime64~ makeDateTime~ makeDate~ MICROSECOND~ MILLISECOND~ MINUTE~ monthName~ MONTH~ NANOSECOND~ now64~
now~ QUARTER~ SECOND~ subDate~ subtractDays subtractHours subtractInterval subtractMicroseconds
subtractMilliseconds subtractMinutes subtractMonths subtractNanoseconds subtractQuarters subtractSeconds
subtractTupleOfIntervals subtractWeeks subtractYears time_bucket~ timeDiff~ timeSlot timeSlots TIMESTAMP_DIFF
timestamp_diff timestampDiff timestamp~ timezoneOf timeZoneOf timezoneOffset timeZoneOffset TO_DAYS~
to_utc_timestamp~ toDayOfMonth toDayOfWeek toDayOfYear toDaysInMonth toDaysSinceYearZero today~ toHour toISOWeek
toISOYear toLastDayOfMonth toLastDayOfWeek toMicrosecond toMillisecond toMinute toModifiedJulianDay
toModifiedJulianDayOrNull toMonday toMonth toMonthNumSinceEpoch toNanosecond toQuarter toRelativeDayNum
toRelativeHourNum toRelativeMinuteNum toRelativeMonthNum toRelativeQuarterNum toRelativeSecondNum
toRelativeWeekNum toRelativeYearNum toSecond toStartOfDay toStartOfFifteenMinutes toStartOfFiveMinute
toStartOfFiveMinutes toStartOfHour toStartOfInterval toStartOfISOYear toStartOfMicrosecond toStartOfMillisecond
toStartOfMinute toStartOfMonth toStartOfNanosecond toStartOfQuarter toStartOfSecond toStartOfTenMinutes
toStartOfWeek toStartOfYear toTimeWithFixedDate toTimezone toTimeZone toUnixTimestamp toUTCTimestamp toWeek toYear
toYearNumSinceEpoch toYearWeek toYYYYMM toYYYYMMDD toYYYYMMDDhhmmss UTC_timestamp~ UTCTimestamp~ week~ yearweek~
YEAR~ yesterday YYYYMMDDhhmmssToDateTime64 YYYYMMDDhhmmssToDateTime~ YYYYMMDDToDate32~ YYYYMMDDToDate~

cosineDistance cosineDistanceTransposed cosineDistanceTransposedQuantized distanceCosineTransposed~
distanceCosine~ distanceL1~ distanceL2Squared~ distanceL2Transposed~ distanceL2~ distanceLinf~ distanceLp~
dotProductTransposed dotProductTransposedQuantized L1Distance L1Norm L1Normalize L2Distance L2DistanceTransposed
L2DistanceTransposedQuantized L2Norm L2Normalize L2SquaredDistance L2SquaredNorm LinfDistance LinfNorm
LinfNormalize LpDistance LpNorm LpNormalize normalizeL1~ normalizeL2~ normalizeLinf~ normalizeLp~ normL1~
normL2Squared~ normL2~ normLinf~ normLp~ scalarProductTransposed~

bin~ bitmaskToArray bitmaskToList bitPositionsToArray char~ hex~ hilbertDecode hilbertEncode mortonDecode
mortonEncode sqid sqidDecode sqidEncode unbin~ unhex~

areaCartesian areaSpherical geoDistance geohashDecode geohashEncode geohashesInBox geometryIntersectCartesian
geometryIntersectSpherical geoToH3 greatCircleAngle greatCircleDistance h3CellAreaM2 h3CellAreaRads2 h3Distance
h3EdgeAngle h3EdgeLengthKm h3EdgeLengthM h3ExactEdgeLengthKm h3ExactEdgeLengthM h3ExactEdgeLengthRads
h3GetBaseCell h3GetDestinationIndexFromUnidirectionalEdge h3GetFaces h3GetIndexesFromUnidirectionalEdge
h3GetOriginIndexFromUnidirectionalEdge h3GetPentagonIndexes h3GetRes0Indexes h3GetResolution
h3GetUnidirectionalEdge h3GetUnidirectionalEdgeBoundary h3GetUnidirectionalEdgesFromHexagon h3HexAreaKm2
h3HexAreaM2 h3HexRing h3IndexesAreNeighbors h3IsPentagon h3IsResClassIII h3IsValid h3kRing h3Line h3NumHexagons
h3PointDistKm h3PointDistM h3PointDistRads h3PolygonToCells h3PolygonToCellsWithContainment h3ToCenterChild
h3ToChildren h3ToGeo h3ToGeoBoundary h3ToParent h3ToString h3UnidirectionalEdgeIsValid perimeterCartesian
perimeterSpherical pointInEllipses pointInPolygon polygonsIntersectCartesian polygonsIntersectSpherical readWKB
readWkb readWKT readWkt stringToH3 svg SVG wkb WKB wkt WKT

cityHash64 farmFingerprint64 farmHash64 gccMurmurHash halfMD5 hiveHash intHash32 intHash64 javaHash
javaHashUTF16LE jumpConsistentHash kafkaMurmurHash keccak256 kostikConsistentHash MD4 MD5 metroHash64
murmurHash2_32 murmurHash2_64 murmurHash3_128 murmurHash3_32 murmurHash3_64 ngramMinHash ngramMinHashArg
ngramMinHashArgCaseInsensitive ngramMinHashArgCaseInsensitiveUTF8 ngramMinHashArgUTF8 ngramMinHashCaseInsensitive
ngramMinHashCaseInsensitiveUTF8 ngramMinHashUTF8 ngramSimHash ngramSimHashCaseInsensitive
ngramSimHashCaseInsensitiveUTF8 ngramSimHashUTF8 RIPEMD160 SHA1 SHA224 SHA256 SHA384 SHA512 SHA512_256 sipHash128
sipHash128Keyed sipHash128Reference sipHash128ReferenceKeyed sipHash64 sipHash64Keyed URLHash wordShingleMinHash
wordShingleMinHashArg wordShingleMinHashArgCaseInsensitive wordShingleMinHashArgCaseInsensitiveUTF8
wordShingleMinHashArgUTF8 wordShingleMinHashCaseInsensitive wordShingleMinHashCaseInsensitiveUTF8
wordShingleMinHashUTF8 wordShingleSimHash wordShingleSimHashCaseInsensitive wordShingleSimHashCaseInsensitiveUTF8
wordShingleSimHashUTF8 wyHash64 xxh3 xxh3_128 xxHash32 xxHash64 xxHash64Spark yandexConsistentHash

cutIPv6 INET6_ATON~ INET6_NTOA~ INET_ATON~ INET_NTOA~ IPv4CIDRToRange IPv4NumToString IPv4NumToStringClassC
IPv4StringToNum IPv4StringToNumOrDefault IPv4StringToNumOrNull IPv4ToIPv6 IPv6CIDRToRange IPv6NumToString
IPv6StringToNum IPv6StringToNumOrDefault IPv6StringToNumOrNull isIPAddressInRange isIPv4String isIPv6String toIPv4
toIPv4OrDefault toIPv4OrNull toIPv4OrZero toIPv6 toIPv6OrDefault toIPv6OrNull toIPv6OrZero

dynamicElement dynamicType isDynamicElementInSharedData isValidJSON JSON_ARRAY_LENGTH~ JSON_EXISTS JSON_QUERY
JSON_VALUE JSONAllPaths JSONAllPathsWithTypes JSONAllValues JSONArrayLength JSONDynamicPaths
JSONDynamicPathsWithTypes JSONExtract JSONExtractArrayRaw JSONExtractArrayRawCaseInsensitive JSONExtractBool
JSONExtractBoolCaseInsensitive JSONExtractCaseInsensitive JSONExtractFloat JSONExtractFloatCaseInsensitive
JSONExtractInt JSONExtractIntCaseInsensitive JSONExtractKeys JSONExtractKeysAndValues
JSONExtractKeysAndValuesCaseInsensitive JSONExtractKeysAndValuesRaw JSONExtractKeysAndValuesRawCaseInsensitive
JSONExtractKeysCaseInsensitive JSONExtractRaw JSONExtractRawCaseInsensitive JSONExtractString
JSONExtractStringCaseInsensitive JSONExtractUInt JSONExtractUIntCaseInsensitive JSONHas JSONKey JSONLength
JSONMergePatch jsonMergePatch JSONSharedDataPaths JSONSharedDataPathsWithTypes JSONType prettyPrintJSON
simpleJSONExtractBool simpleJSONExtractFloat simpleJSONExtractInt simpleJSONExtractRaw simpleJSONExtractString
simpleJSONExtractUInt simpleJSONHas toJSONString visitParamExtractBool visitParamExtractFloat visitParamExtractInt
visitParamExtractRaw visitParamExtractString visitParamExtractUInt visitParamHas

and not~ or xor

extractKeyValuePairs extractKeyValuePairsWithEscaping map MAP_FROM_ARRAYS mapAdd mapAll mapApply mapConcat
mapContains mapContainsKey mapContainsKeyLike mapContainsValue mapContainsValueLike mapExists mapExtractKeyLike
mapExtractValueLike mapFilter mapFromArrays mapFromString mapKeys mapPartialReverseSort mapPartialSort
mapPopulateSeries mapReverseSort mapSort mapSubtract mapUpdate mapValues str_to_map~

acosh acos~ asinh asin~ atan2~ atanh atan~ cbrt cosh cos~ degrees~ e erf erfc exp10 exp2 exp~ factorial~ hypot~
intExp10 intExp2 isPrime isProbablePrime lgamma ln~ log10~ log1p log2~ log~ pi~ power~ pow~ proportionsZTest
radians~ sigmoid sign~ sinh sin~ sqrt~ tanh~ tan~ tgamma width_bucket~ widthBucket

assumeNotNull coalesce~ firstNonDefault~ ifNull~ isNotNull isNullable isNull~ isZeroOrNull nullIf~ toNullable

bar byteSize countDigits defaultValueOfArgumentType digits FORMAT_BYTES~ formatReadableDecimalSize
formatReadableQuantity formatReadableSize formatReadableTimeDelta identity isConstant isDecimalOverflow
materialize parseISO8601Duration parseReadableSize parseReadableSizeOrNull parseReadableSizeOrZero parseTimeDelta
toColumnTypeName toTypeName transform variantElement variantType

rand32 rand64 randBernoulli randBinomial randCanonical randChiSquared randConstant randExponential randFisherF
randLogNormal randNegativeBinomial randNormal randomFixedString randomPrintableASCII randomString randomStringUTF8
randPoisson randStudentT randUniform rand~

ceiling~ ceil~ floor~ roundAge roundBankers roundDown roundDuration roundToExp2 round~ truncate~ trunc~

appendTrailingCharIfAbsent ascii~ base32Decode base32Encode base58Decode base58Encode base64Decode base64Encode
base64URLDecode base64URLEncode basename byteHammingDistance byteSlice~ caseFoldUTF8 CHAR_LENGTH~
CHARACTER_LENGTH~ compareSubstrings concat_ws~ concatAssumeInjective concatWithSeparator
concatWithSeparatorAssumeInjective concat~ conv convertCharset CRC32IEEE~ CRC32~ CRC64~ damerauLevenshteinDistance
decodeHTMLComponent decodeXMLComponent editDistance editDistanceUTF8 encodeXMLComponent endsWith
endsWithCaseInsensitive endsWithCaseInsensitiveUTF8 endsWithUTF8 extractTextFromHTML firstLine FROM_BASE64~
initcapUTF8 initcap~ isASCII isValidASCII isValidUTF8 jaroSimilarity jaroWinklerSimilarity lcase~ leftPad
leftPadUTF8 leftUTF8 left~ lengthUTF8 levenshteinDistance levenshteinDistanceUTF8 lowerUTF8 lower~ lpad~ ltrim
mid~ mismatches NATURAL_SORT_KEY~ naturalSortKey normalizeUTF8NFC normalizeUTF8NFD normalizeUTF8NFKC
normalizeUTF8NFKCCasefold normalizeUTF8NFKD REGEXP_EXTRACT~ regexp_instr~ REGEXP_SUBSTR~ regexpExtract
regexpInstr~ regexpPosition removeAccentsUTF8 removeDiacriticsUTF8 repeat~ reverseUTF8 rightPad rightPadUTF8
rightUTF8 right~ rpad~ rtrim soundex~ space~ sparseGrams sparseGramsHashes sparseGramsHashesUTF8 sparseGramsUTF8
startsWith startsWithCaseInsensitive startsWithCaseInsensitiveUTF8 startsWithUTF8 stringBytesEntropy
stringBytesUniq stringJaccardIndex stringJaccardIndexUTF8 SUBSTRING_INDEX~ substringIndex substringIndexUTF8
substringUTF8 substring~ substr~ TO_BASE64~ toValidUTF8 trim trimBoth trimLeft trimRight tryBase32Decode
tryBase58Decode tryBase64Decode tryBase64URLDecode ucase~ upperUTF8 upper~

format overlayUTF8 overlay~ printf REGEXP_REPLACE~ regexpQuoteMeta replaceAll replaceOne replaceRegexpAll
replaceRegexpOne replace~ translate translateUTF8

countMatches countMatchesCaseInsensitive countSubstringsCaseInsensitive countSubstringsCaseInsensitiveUTF8
countSubstrings~ extract extractAll extractAllGroupsHorizontal extractGroups hasAllToken hasAllTokens hasAnyToken
hasAnyTokens hasPhrase hasSubsequenceCaseInsensitiveUTF8~ hasSubsequenceCaseInsensitive~ hasSubsequenceUTF8~
hasSubsequence~ hasToken hasTokenCaseInsensitiveOrNull~ hasTokenCaseInsensitive~ hasTokenOrNull highlight ilike
instr~ like locate~ match matchCaseInsensitive matchPhrase multiSearchAllPositions
multiSearchAllPositionsCaseInsensitive multiSearchAllPositionsCaseInsensitiveUTF8 multiSearchAllPositionsUTF8
multiSearchAny multiSearchAnyCaseInsensitive multiSearchAnyCaseInsensitiveUTF8 multiSearchAnyUTF8
multiSearchFirstIndex multiSearchFirstIndexCaseInsensitive multiSearchFirstIndexCaseInsensitiveUTF8
multiSearchFirstIndexUTF8 multiSearchFirstPosition multiSearchFirstPositionCaseInsensitive
multiSearchFirstPositionCaseInsensitiveUTF8 multiSearchFirstPositionUTF8 ngramDistance
ngramDistanceCaseInsensitive ngramDistanceCaseInsensitiveUTF8 ngramDistanceUTF8 ngramSearch
ngramSearchCaseInsensitive ngramSearchCaseInsensitiveUTF8 ngramSearchUTF8 notILike notLike notMatch
notMatchCaseInsensitive positionCaseInsensitive positionCaseInsensitiveUTF8 positionUTF8 position~ REGEXP_MATCHES~

alphaTokens array_to_string~ arrayStringConcat extractAllGroups extractAllGroupsVertical ngrams reverseBySeparator
splitByAlpha splitByChar splitByNonAlpha splitByRegexp splitByString splitByWhitespace tokens tokensForLikePattern

dotProduct flattenTuple scalarProduct~ tuple tupleConcat tupleDivide tupleDivideByNumber tupleElement
tupleHammingDistance tupleIntDiv tupleIntDivByNumber tupleIntDivOrZero tupleIntDivOrZeroByNumber tupleMinus
tupleModulo tupleModuloByNumber tupleMultiply tupleMultiplyByNumber tupleNames tupleNegate tuplePlus
tuplePositiveModuloByNumber tupleToNameValuePairs vectorDifference~ vectorSum~

accurateCast accurateCastOrDefault accurateCastOrNull CAST~ DATE~ fromUnixTimestamp64Micro
fromUnixTimestamp64Milli fromUnixTimestamp64Nano fromUnixTimestamp64Second parseDateTime parseDateTime32BestEffort
parseDateTime32BestEffortOrNull parseDateTime32BestEffortOrZero parseDateTime64 parseDateTime64BestEffort
parseDateTime64BestEffortOrNull parseDateTime64BestEffortOrZero parseDateTime64BestEffortUS
parseDateTime64BestEffortUSOrNull parseDateTime64BestEffortUSOrZero parseDateTime64InJodaSyntax
parseDateTime64InJodaSyntaxOrNull parseDateTime64InJodaSyntaxOrZero parseDateTime64OrNull parseDateTime64OrZero
parseDateTimeBestEffort parseDateTimeBestEffortOrNull parseDateTimeBestEffortOrZero parseDateTimeBestEffortUS
parseDateTimeBestEffortUSOrNull parseDateTimeBestEffortUSOrZero parseDateTimeInJodaSyntax
parseDateTimeInJodaSyntaxOrNull parseDateTimeInJodaSyntaxOrZero parseDateTimeOrNull parseDateTimeOrZero
reinterpret reinterpretAsDate reinterpretAsDateTime reinterpretAsFixedString reinterpretAsFloat32
reinterpretAsFloat64 reinterpretAsInt128 reinterpretAsInt16 reinterpretAsInt256 reinterpretAsInt32
reinterpretAsInt64 reinterpretAsInt8 reinterpretAsString reinterpretAsUInt128 reinterpretAsUInt16
reinterpretAsUInt256 reinterpretAsUInt32 reinterpretAsUInt64 reinterpretAsUInt8 reinterpretAsUUID str_to_date~
TO_UNIXTIME~ toBFloat16 toBFloat16OrNull toBFloat16OrZero toBool toDate toDate32 toDate32OrDefault toDate32OrNull
toDate32OrZero toDateOrDefault toDateOrNull toDateOrZero toDateTime toDateTime32 toDateTime64
toDateTime64OrDefault toDateTime64OrNull toDateTime64OrZero toDateTimeOrDefault toDateTimeOrNull toDateTimeOrZero
toDecimal128 toDecimal128OrDefault toDecimal128OrNull toDecimal128OrZero toDecimal256 toDecimal256OrDefault
toDecimal256OrNull toDecimal256OrZero toDecimal32 toDecimal32OrDefault toDecimal32OrNull toDecimal32OrZero
toDecimal64 toDecimal64OrDefault toDecimal64OrNull toDecimal64OrZero toDecimalString~ toFixedString toFloat32
toFloat32OrDefault toFloat32OrNull toFloat32OrZero toFloat64 toFloat64OrDefault toFloat64OrNull toFloat64OrZero
toInt128 toInt128OrDefault toInt128OrNull toInt128OrZero toInt16 toInt16OrDefault toInt16OrNull toInt16OrZero
toInt256 toInt256OrDefault toInt256OrNull toInt256OrZero toInt32 toInt32OrDefault toInt32OrNull toInt32OrZero
toInt64 toInt64OrDefault toInt64OrNull toInt64OrZero toInt8 toInt8OrDefault toInt8OrNull toInt8OrZero toInterval
toIntervalDay toIntervalHour toIntervalMicrosecond toIntervalMillisecond toIntervalMinute toIntervalMonth
toIntervalNanosecond toIntervalQuarter toIntervalSecond toIntervalWeek toIntervalYear toLowCardinality toString
toStringCutToZero toTime toTime64 toTime64OrNull toTime64OrZero toTimeOrNull toTimeOrZero toUInt128
toUInt128OrDefault toUInt128OrNull toUInt128OrZero toUInt16 toUInt16OrDefault toUInt16OrNull toUInt16OrZero
toUInt256 toUInt256OrDefault toUInt256OrNull toUInt256OrZero toUInt32 toUInt32OrDefault toUInt32OrNull
toUInt32OrZero toUInt64 toUInt64OrDefault toUInt64OrNull toUInt64OrZero toUInt8 toUInt8OrDefault toUInt8OrNull
toUInt8OrZero toUnixTimestamp64Micro toUnixTimestamp64Milli toUnixTimestamp64Nano toUnixTimestamp64Second toUUID
toUUIDOrZero

cutFragment cutQueryString cutQueryStringAndFragment cutToFirstSignificantSubdomain
cutToFirstSignificantSubdomainCustom cutToFirstSignificantSubdomainCustomRFC
cutToFirstSignificantSubdomainCustomWithWWW cutToFirstSignificantSubdomainCustomWithWWWRFC
cutToFirstSignificantSubdomainRFC cutToFirstSignificantSubdomainWithWWW cutToFirstSignificantSubdomainWithWWWRFC
cutURLParameter cutWWW decodeURLComponent decodeURLFormComponent domain domainRFC domainWithoutWWW
domainWithoutWWWRFC encodeURLComponent encodeURLFormComponent extractURLParameter extractURLParameterNames
extractURLParameters firstSignificantSubdomain firstSignificantSubdomainCustom firstSignificantSubdomainCustomRFC
firstSignificantSubdomainRFC fragment netloc path pathFull port portRFC protocol queryString
queryStringAndFragment topLevelDomain topLevelDomainRFC URLHierarchy URLPathHierarchy

dateTime64ToSnowflakeID dateTimeToSnowflakeID dateTimeToUUIDv7 generateUUIDv4 generateUUIDv7 snowflakeIDToDateTime
snowflakeIDToDateTime64 toUUIDOrDefault toUUIDOrNull UUIDNumToString UUIDStringToNum UUIDToNum UUIDv7ToDateTime

caseWithExpression exists grouping lambda
"""

_AGGREGATES = """
analysisOfVariance~ anova~ any any_respect_nulls any_value_respect_nulls~ any_value~ anyHeavy anyLast
anyLast_respect_nulls anyLastRespectNulls anyRespectNulls anyValueRespectNulls approx_top_count~ approx_top_k~
approx_top_sum~ argAndMax argAndMin argMax argMin array_agg~ avgWeighted avg~ BIT_AND~ BIT_OR~ BIT_XOR~
boundingRatio categoricalInformationValue contingency corrMatrix corrStable corr~ count~ COVAR_POP~ COVAR_SAMP~
covarPop covarPopMatrix covarPopStable covarSamp covarSampMatrix covarSampStable cramersV cramersVBiasCorrected
cume_dist deltaSum deltaSumTimestamp dense_rank~ denseRank distinctDynamicTypes distinctJSONPaths
distinctJSONPathsAndTypes entropy exponentialMovingAverage exponentialTimeDecayedAvg exponentialTimeDecayedCount
exponentialTimeDecayedMax exponentialTimeDecayedSum first_value_respect_nulls~ first_value~ firstValueRespectNulls
gini group_concat~ groupArray groupArrayInsertAt groupArrayIntersect groupArrayLast groupArrayMovingAvg
groupArrayMovingSum groupArraySample groupArraySorted groupBitAnd groupBitOr groupBitXor groupConcat
groupUniqArray histogram intervalLengthSum kolmogorovSmirnovTest~ kurtPop kurtSamp lagInFrame lag~
largestTriangleThreeBuckets last_value_respect_nulls~ last_value~ lastValueRespectNulls leadInFrame lead~ lttb
mannWhitneyUTest max_by~ maxIntersections maxIntersectionsPosition maxMappedArrays max~ meanZTest median
medianBFloat16 medianBFloat16Weighted medianDD medianDeterministic medianExact medianExactHigh medianExactLow
medianExactWeighted medianExactWeightedInterpolated medianGK medianInterpolatedWeighted medianTDigest
medianTDigestWeighted medianTiming medianTimingWeighted mergedJSONPatch min_by~ minMappedArrays min~
nonNegativeDerivative nth_value~ ntile~ percent_rank~ percentRank quantile quantileBFloat16
quantileBFloat16Weighted quantileDD quantileDeterministic quantileExact quantileExactExclusive quantileExactHigh
quantileExactInclusive quantileExactLow quantileExactWeighted quantileExactWeightedInterpolated quantileGK
quantileInterpolatedWeighted quantilePrometheusHistogram quantiles quantilesBFloat16 quantilesBFloat16Weighted
quantilesDD quantilesDeterministic quantilesExact quantilesExactExclusive quantilesExactHigh
quantilesExactInclusive quantilesExactLow quantilesExactWeighted quantilesExactWeightedInterpolated quantilesGK
quantilesInterpolatedWeighted quantilesPrometheusHistogram quantilesTDigest quantilesTDigestWeighted
quantilesTiming quantilesTimingWeighted quantileTDigest quantileTDigestWeighted quantileTiming
quantileTimingWeighted rankCorr rank~ regr_avgx~ regr_avgy~ regr_count~ regr_intercept~ regr_r2~ regr_slope~
regr_sxx~ regr_sxy~ regr_syy~ retention row_number~ sequenceCount sequenceMatch sequenceMatchEvents
sequenceNextNode simpleLinearRegression singleValueOrNull skewPop skewSamp sparkbar sparkBar STDDEV_POP~
STDDEV_SAMP~ stddevPop stddevPopStable stddevSamp stddevSampStable STDDEV~ STD~ string_agg~ studentTTest
studentTTestOneSample sumCount sumKahan sumMapFiltered sumMapFilteredWithOverflow sumMappedArrays
sumMapWithOverflow sumWithOverflow sum~ theilsU topK topKWeighted uniq uniqCombined uniqCombined64 uniqExact
uniqHLL12 uniqUpTo VAR_POP~ VAR_SAMP~ varPop varPopStable varSamp varSampStable welchTTest windowFunnel
"""

#: What may follow the name of an aggregate function.
_COMBINATORS = re.compile(r"(If|Array|Map|Distinct|OrDefault|OrNull|ForEach|ArgMin|ArgMax)$")

#: Functions that stand where a table does. They read nothing but their arguments.
TABLE_FUNCTIONS = frozenset(
    ("numbers", "zeros", "generateSeries", "generate_series", "SQLStandardValues")
)

#: Functions whose arguments may be names of tables.
MEMBERSHIP = frozenset(("in", "notIn", "nullIn", "notNullIn"))


def _names(text: str) -> tuple[frozenset[str], frozenset[str]]:
    """Return the names as they are, and those of any case in lower case."""
    words = text.split()
    return (
        frozenset(word.removesuffix("~") for word in words),
        frozenset(word[:-1].lower() for word in words if word.endswith("~")),
    )


_EXACT, _ANY_CASE = _names(_FUNCTIONS)
_EXACT_AGGREGATES, _ANY_CASE_AGGREGATES = _names(_AGGREGATES)

#: Functions that ClickHouse 26.9 calls without brackets, in any case, where no column has the name. Those of the SQL standard that say
#: what time it is are not here: CURRENT_DATE, CURRENT_TIMESTAMP, LOCALTIME and LOCALTIMESTAMP.
_ALONE = frozenset(
    [
        "curdate",
        "currentdatabase",
        "current_database",
        "currenthandler",
        "currentrequesturl",
        "currentuser",
        "current_user",
        "database",
        "now",
        "schema",
        "session_user",
        "today",
        "user",
    ]
)


def is_answered_alone(name: str) -> bool:
    """Say whether ClickHouse takes a name for a function, without brackets, where no column has it."""
    return name.lower() in _ALONE


def is_function(name: str) -> bool:
    """Say whether a query may call a function of this name."""
    if name in _EXACT or name.lower() in _ANY_CASE:
        return True
    while True:
        if name in _EXACT_AGGREGATES or name.lower() in _ANY_CASE_AGGREGATES:
            return True
        shorter = _COMBINATORS.sub("", name)
        if shorter == name:
            return False
        name = shorter
