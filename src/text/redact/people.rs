//! Names that people have, and words that are none.
//!
//! What it does not do: hold all of them; the lists are of the most usual. Who calls it: [`super::names`].

use super::lists::{List, list};

/// First names that are hardly ever another word.
pub(super) static FIRST: List = list!(
    "aaliyah aarav aaron abdul abdullah abdullahi abdulrahman abena abigail abraham achieng adaeze adam adebayo adeola aditya adrian \
     adriana adwoa agnes agnieszka ahmed aidan aino aisha akash akira akua alan alana albert alberto aldo alejandro aleksandr aleksei \
     alessandra alessandro alessia alex alexander alexis alfie alfred alfredo ali alice alicia alison alistair allison alma alun alvaro \
     alyssa amanda amara amarjit amelia amina aminata amit amparo amy analyn ananya anastasia anatoly anders andrea andreas andrei andrew \
     andrzej angela angelina angelo angharad anil anita anja anjali ann anna annabel annabelle anne annette annie annika anthony antoine \
     anton antonella antonia antonio antti aoife apostolos arabella araceli arantxa archie aria ariana arjun armando arnel arnold arthur \
     arturo arun ashley ashok astrid attila aubrey audrey aurelie ava axel ayaan ayden ayesha ayse babatunde balwinder barb barbara barry \
     beata beatrice beatriz becky belen belinda bella ben benjamin benny benoit bernadette bernard bernd bernice bert bertha beth bethan \
     bethany betty beverly bhavna bianca bilal billy birgit bjorn bob bobbie bobby bogdan bonnie boris brad bradley brandi brandon brenda \
     brendan brian bridget brittany brody bronagh bronwyn bruce bruna bryan bryce bryn burak caio caitlin caleb callum camila camille \
     camilo candice carl carla carlo carlos carmela carmen carol carole caroline carolyn carrie carsten carwyn carys cassandra cassie \
     catarina cathal catherine catriona cecilia cedric celeste celia celine ceri cerys cesar chad chantal chantelle charlene charles \
     charlie charlotte cheikh cherie cheryl chester chiara chidi chidinma chinua chioma chipo chloe chris christian christina christine \
     christoph christopher chuy cian ciaran cillian cindy claire clara clare clarence claude claudia clayton clifford clint clive clyde \
     cody colin colm colton conal concepcion connie connor conor constance consuelo cora corey cormac cory courtney craig cuauhtemoc \
     curtis cynthia cyril dafydd daljit damian damien damon dan daniel danielle danny danuta daphne darla darlene darnell darragh darren \
     darryl daryl dave david davina deanna debbie debora deborah debra declan deepa deepak deirdre delia delores delphine delyth demarcus \
     demetrius dena denis denise dennis denny derek dermot deshawn desmond dewi dexter diana diane dianne diarmuid didier diego dieter \
     dimitri dimitris dina divya dmitri dolores dominic dominique donal donald donna donnacha donnie doreen doris dorota dorothea dorothy \
     douglas dwayne dwight dylan eamon earline eddie edgar edith edmund edna eduarda eduardo edward edwin efua eileen eilidh eirlys \
     elaine eleanor elena eleni elias elif elijah elin elise eliza elizabeth elke ella ellen ellie elliot elliott eloise elsa elsie elton \
     elvira elvis emanuel emeka emil emilia emiliano emilie emilio emily emine emma emmanuel emre emrys emyr encarna enid enrique enzo \
     eoin eric erica erik erika erin ernest ernesto esme esmeralda esperanza esteban estelle esther eszter ethan ethel etienne eugene \
     eunice eusebio eva evan evangeline evelina evelyn evie ewa ewan ezra fabian fabien fabiola fabrice facundo faisal farah farai farid \
     fatima fatma fatou federica federico felicia felicity felipe felix femi ferenc fergal fergus fernando ffion filipe finbar finley \
     finn fiona fionn flora florent florian florin floyd folake frances francesca francesco francis francisco franck francois fred freda \
     freddie frederic frederick freja freya friedrich fritz gabor gabriel gabriela gail galina ganesh gareth garrett gary gavin gemma \
     genevieve geoff geoffrey george georgina geraint gerald geraldine gerard gerhard gertie gertrude gethin gheorghe gideon gilbert \
     gilles gillian gina giorgia giorgos giovanni giulia giuseppe gladys glenda glenn glenys gloria gokhan gonzalo gopal gordon graciela \
     graham grainne greg gregory greta gretchen grzegorz guadalupe guilherme guillermo gunnar gunther gurdeep gurpreet gus gustavo gwen \
     gwendolyn gwenllian gwilym hakan halina hamish hamza hannah hannes harish harold harpreet harriet harrison harry haruki haruto \
     harvey hassan hatice hayley hazel heather hector heidi heike heinz helen helena helene helga helmut henrietta henrik henry herbert \
     heriberto herman hernan herve hettie hilary hilda hiro hiroshi holger horace horst huda hugh hugo huong huw hyun iago iain ian \
     ibrahim ibrahima ida idris ieuan ifan ifeoma ignacia ignacio igor ikechukwu ilaria ildiko imani imogen imran inaki indira ines ingo \
     ingrid ioana iolo ionut irene irfan irina irma irving isaac isabel isabella isabelle isaiah ishaan isla ismael ismail istvan itzel \
     itziar ivan iwan jaber jacek jack jackie jacob jacqueline jacques jaime jake jamal jamarcus james jamie jamil jana jane janelle \
     janet janice janine janusz jared jasmeet jasmin jasmine jason jaswinder javier jaya jayden jayne jean jeanette jeannie jed jeff \
     jeffrey jen jenna jennie jennifer jenny jens jeremy jermaine jerome jerry jerzy jess jesse jessica jessie jesus jhun jiho jill jim \
     jimena jimmy joan joann joanna joanne joao joaquim joaquin jocelyn jochen joe joel joey johan johanna johannes john johnny jolene \
     jomar jon jonas jonathan jonathon jonny jordan jordi jorg jorge jorgen jose josef josefa josefina joseph josephine joshua josiah \
     josie jovelyn joyce juan juanita judd judi judith judy jukka jules julian juliana julie julien julio julius jurgen justin justine \
     justyna jutta kaden kai kaisa kaitlyn kamau kamil kamran kaori kara kareem karen karim karin karina karl karla kasey katalin \
     katarina kate katerina katherine kathleen kathryn kathy katie katja katrin katy kavita kayla kaylee kayleigh keiko keisha keith \
     kelechi kellie kelly kelsey kelvin kemi ken kendra kenji kenneth kerry kev kevin keyshawn khadija khalid kieran killian kimberley \
     kimberly kipchoge kiran kirk kirsten klara klaus kofi kojo kostas kourtney krishna kristen kristin kristina krystal krzysztof ksenia \
     kuldeep kurt kwame kwesi kyle kyra laetitia laia lakshmi lalit lamar larisa larry lars lashonda laszlo latasha latisha latoya laura \
     laurel lauren laurence laurent laurie lawrence layla leah leandro leann leanne leila lena lenny leo leon leona leonard leonardo \
     lerato leroy lesley lester leszek leticia levente levi lewis liam lidia lila lillian lina linda lindsay lindsey linh lionel lisa liz \
     lloyd logan lola lorcan lorenzo loretta lori lorna lorraine lothar louie louis louise lowri luc luca lucas lucia luciano lucie \
     lucila lucille lucy ludmila luigi luis luisa luiza lukas lukasz luke lupe luther lydia lyle lynda lynette mabel macarena maciej \
     mackenzie maddie madeleine madeline madhu mae maeve magda magdalena maggie magnus mahesh mahmoud mair mairead mairi maisie maite \
     makayla malachy malcolm malgorzata malik mamadou mandla mandy manfred manish manjit manoj mansour manuel manuela marcel marcela \
     marcia marco marcos marcus marek margaret margarethe margarita margery margot marguerite maria mariah mariam mariana marianne \
     maricel marie mariko marilyn marina mario marisa marisol marissa marjorie marlene marlon marnie marsha marshall marta martha martin \
     martina marvin mary maryam maryann marybeth massimo mateo mateus mateusz mathieu matilda matt matteo matthew matthias matti mattia \
     mattie maureen maurice mauricio mauro mavis maxim maxime maximo maxine maya mckenzie meena megan mehmet mei meinir melanie melinda \
     melissa melvin menna meredith mette meurig mia micah michael michal micheal michelle mickey miguel mihai mikael mike mikhail mikko \
     mildred millie milton mindy minjun minnie miranda miriam mitch mitchell mohamed mohammed mohan moira mollie molly mona monica \
     monique montse morgan moritz mostafa moussa muhammad mukesh murat muriel mustafa mwangi myra myron myrtle nabil nacho nadege nadia \
     nadine naledi nancy naoko naomi naresh nasreen nasser natalia natalie natasha nathalie nathan nattapong naveed navjot neal ned neha \
     neil nell nellie nelson nerea nesta nettie ngozi nguyen niamh nicanor nicholas nick nicky nicola nicolas nicole nicolo nigel nikita \
     nikolai nikos nils nina nisha nitin njoroge nkechi noah noelle nolan nomsa nora noreen norma norman nuala nuria obinna octavia \
     odette oisin oksana olga oliver olivia olivier ollie oluwaseun olwen omar omari oriol orla osama oscar otieno otis otto oumar \
     ousmane owain owen pablo paco padraig paige paloma pamela paola paolo paramjit pascal pascale patricia patrick patsy patti patty \
     paudie paul paula paulette pauline paulo pavel pawel payton pedro peggy pekka penelope pete peter petra phil philip philippa \
     philippe phillip phoebe phuong phyllis pierre pilar piotr polly pooja poppy pradeep prakash prashant preeti priti priya proinsias \
     przemek qasim quentin rachel rafa rafael rafaela rafal raffaele rahul raimundo rainer raj rajesh rakesh ralf ralph ramesh rami \
     ramiro ramon ramona randall randi randy rania ranjit raquel rashad rashid rashmi rasmus raul ravi raymond rebecca rebekah refugio \
     reggie regina reginald rehan reinhard remi renata renate renee reuben rhett rhian rhiannon rhoda rhodri rhonda rhys ricardo riccardo \
     richard ricky rigoberto rita ritu rob robert roberta roberto robin robyn rocco rochelle rocio rodel roderick rodney rodolfo rodrigo \
     roger rohan rohit roisin roland rolando rolf romain ron ronald ronnie rory rosa rosalie rosalind rosanne roseanne rosemary rosie \
     rowena roxanne roy ruairi ruben rufus rupert russell rutendo ruth ryan ryszard sabine sabrina sachin sadie saeed sakura salim sally \
     salma salome salvador salvatore sam samantha sami samir samira samuel sandeep sandra sanjana sanjay sanjeev santi santiago saoirse \
     sara sarah sasha satoshi saul scott seamus sean sebastian sebastien seema segun selena serena sergei sergio serkan seth seung \
     severine seydou shahid shane shanice shaniqua shannon shanti sharon shaun shauna shawn sheena sheila sheldon shelley shelly sherri \
     sherry shilpa shirley shreya sian sienna sigrid silas silvia silvio simon simona simone simran sinead siobhan sioned sipho siriporn \
     skylar slawomir socorro sofia sofie solene solomon solveig somchai sonal sonia sonya sophia sophie soraya sorcha soren spencer \
     spiros stacey stacy stan stanislaw stanley stavros stefan stefania stefano steffen stella stephan stephane stephanie stephen steve \
     steven stewart stuart sudhir sue sukhdeep sunil sunita suresh susan susanna susanne suzanne suzy sven svetlana swati sybil sylvain \
     sylvester sylvia sylvie tabitha tadeusz tadhg takeshi tamara tamer tamika tammi tammy tania tanisha tanvi tanya tara tariq tasha \
     tatenda tatiana tatyana ted teddy tegan temitope tendai terence teresa teri terrance terrence terry tess tessa thabo thanh thea \
     thelma theo theodore theodoros theresa thiago thibault thierry thomas thorsten tiffany tim timmy timothy tina tobias toby todd tolu \
     tom tomas tomasz tommy tomos toni tony tonya torsten tracey tracy trayvon trent trenton trevon trevor trina trisha tristan trudy \
     tuan tunde tyler tyrell tyrese tyrone uche ulrich ulrike ultan uma ursula urszula usha usman uwe vadim valentin valentina valeria \
     valerie vanessa varun vasiliki vera verna vernon veronica veronique vicente vicki vicky victor victoria vijay vijaya vikas vikram \
     viktor vince vincent vincenzo vinod viola virgil virginie vishal vivian viviana vladimir vladislav volker walid wally walter wambui \
     wanda wanjiru waqar warren wayne wei wendell wendy werner wesley whitney wilbur wilf wilfred wilhelm william willie wilma winifred \
     winston wojciech wolfgang wyatt xavier xiao ximena xochitl yaa yadira yago yannick yannis yash yasmeen yasmin yasmine yelena yemi \
     yesenia yevgeny yoko yolanda youssef yuki yuko yuri yusra yusuf yves yvette yvonne zach zachariah zachary zack zahra zainab zane \
     zanele zara zbigniew zeynep ziad zoe zoey zofia zoltan zoya zsuzsanna zubair"
);

/// Last names that are hardly ever another word.
pub(super) static LAST: List = list!(
    "adams ahmed ali allen alvarez anderson bailey baker begum bennett brown campbell carter castillo chavez chen clark collins cooper \
     cruz davies davis diaz edwards evans fischer fitzgerald flores foster garcia gomez gonzalez gutierrez harris henderson hernandez \
     howard huang hughes hussain ivanov jackson jimenez johnson johnston jones kaur kelly khan kim kowalski lee lewis liu lopez macdonald \
     martin martinez mccarthy mcdonald mendoza miller mitchell moore morales morgan morris muller murphy myers nelson nguyen novak \
     o'brien o'connor o'neill o'sullivan ortiz parker patel perez peterson petrov phillips ramirez ramos reed reyes richardson rivera \
     roberts robinson rodriguez rogers ruiz sanchez sanders schmidt schneider shah singh smith stewart suzuki tanaka taylor thatcher \
     thomas thompson torres turner wagner wang watson weber williams wilson wojcik wright yamamoto yang zhang"
);

/// Words that are no names, though what announces one stands before; and no streets, though a number stands before.
pub(super) static NO_NAMES: List = list!(
    "details info information terms basis a able about absolutely account across actually address advisor afraid after again against age agent ago all along already also \
     always am an and any anybody anyone anything are around as asking at attached available aware away awful back bad bank be because \
     becoming been before behalf behind being beside between beyond big bill billing bills birth birthday bit booking born both branch \
     breakfast broadband broken busy but by call called calling can can't cannot capital car card cardholder cars case cents change \
     changed charge charged cheap city clients code collection come companies company completely concerned confused construction contract \
     correct costing could couldn't county customer customers cvv damaged dash date day days delivery department did didn't different \
     dinner dirty disgusting do dob doctor does doesn't dollars don't dot double down driving due during e-mail each early either else \
     email er euros every everybody everyone everything excellent expensive expired expires expiry extremely family fantastic far fast \
     faulty few file fine first for forename free friday from frustrated full get getting give glad go going gonna good got great had \
     happy hardly has hasn't have haven't having he he'd he's hello help her here hers him his holder home horrendous horrible hour hours \
     how however hyphen i i'd i'll i'm i've if important in incorrect initial inside insurance interested internet into is isn't it it'd \
     it'll it's its just kind know large last late least left less let letter letters like line listed little live lives living long \
     looking lot lovely lunch making management manager many married maybe me middle mile miles mine minute minutes miss missing \
     misspelled mister monday month months more most mostly moved mr mrs ms much my name name's names near nearby need needs never new \
     next nice no nobody nor normally not nothing now number nurse of off office often ok okay old on once one only operator opposite or \
     order other our ours out outrageous outside over password past payment payments people people's percent person phone pin please \
     policy poor possible postcode pounds pressure pretty probably put quite rather ready really record records reference regarding \
     regards repair representative reservation review ridiculous right said sales same saturday saying says security see serious several \
     she she'd she's shop short should sick since site sitting slow small so social some somebody someone something sometimes sorry sort \
     speak speaking spell spelled spelling spelt spoke spouse staff standing state statement still stop store stress sunday supervisor \
     support supposed sure surname system taken taking talking team technical television tell terrible than thank thanks that that'd \
     that's the their them then there there's these they they'd they're they've thing things this those though three through thursday \
     tied till time to today told tomorrow tonight too totally towards tried triple trying tuesday turn turned tv twice two uh um unable \
     unacceptable unavailable under underscore unhappy until up upset urgent us use used uses using usually very wait waiting want wanted \
     wanting wants warehouse warranty was wasn't we we'd we'll we're we've website wednesday week weeks well went were what what's when \
     where where's which while who who's whose why wide wifi will with without won't worked working works worried would wouldn't wrong \
     yeah year years yep yes yesterday yet you you'd you'll you're you've your yours zip"
);

/// Whether it is one of the most usual names, or begins like one.
pub(super) fn is_known(word: &str) -> bool {
    let begins = |start: &str| {
        word.strip_prefix(start)
            .is_some_and(|rest| rest.chars().count() > 3 && rest != "clock")
    };
    FIRST.has(word) || LAST.has(word) || begins("o'") || begins("mc") || begins("o\u{2019}")
}

/// Names that are mostly other words: only right behind what announces a name for certain.
pub(super) static RARE: List =
    list!("will may mark grace april june august rose bill art frank hope joy faith drew pat rich chase grant dean miles guy case");
